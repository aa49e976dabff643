#include "io/pickle_globals.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace beit {
namespace {

// Lists of names between spaces.

/// All that is in these packages, and whatever is reached through them.
constexpr std::string_view kHarmfulPackages =
    " _ctypes _operator _pickle _posixsubprocess _socket _thread aiohttp asyncio bdb cPickle cProfile cffi cgi"
    " cloudpickle code codeop commands compileall concurrent ctypes dill distutils doctest ensurepip fileinput ftplib "
    "gc"
    " http httplib httplib2 idlelib imp importlib inspect joblib jsonpickle lib2to3 linecache marshal mmap"
    " multiprocessing new nt operator os pdb pickle pickletools pip pkgutil platform popen2 posix profile pty "
    "py_compile"
    " pydoc requests runpy setuptools shelve shutil signal site smtplib socket ssl subprocess sys telnetlib tempfile"
    " thread threading timeit trace urllib urllib2 venv webbrowser xmlrpc zipimport ";

/// What runs code in packages that are harmless otherwise: these, and all that is in them.
constexpr std::string_view kHarmfulMembers =
    " _io.FileIO _io.open io.FileIO io.open numpy.distutils numpy.f2py numpy.load numpy.testing pandas.eval"
    " pandas.read_pickle torch._dynamo torch._inductor torch.classes torch.hub torch.jit.load torch.load torch.ops"
    " torch.package torch.serialization.load torch.utils.bottleneck torch.utils.cpp_extension types.CodeType"
    " types.FunctionType ";

constexpr std::string_view kBuiltins = " __builtin__ __builtins__ builtins ";
constexpr std::string_view kHarmlessBuiltins =
    " Ellipsis NotImplemented bool bytearray bytes complex dict enumerate float frozenset int list long object range"
    " reversed set slice str tuple unicode xrange zip ";

bool has(std::string_view names, std::string_view name) {
  return name.find(' ') == std::string_view::npos && names.find(fmt::format(" {} ", name)) != std::string_view::npos;
}

}  // namespace

bool runs_code(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  const std::string_view package = std::string_view(full).substr(0, full.find('.'));
  if (has(kBuiltins, package)) return package != module || !has(kHarmlessBuiltins, name);
  if (has(kHarmfulPackages, package)) return true;
  for (size_t end = package.size(); end < full.size();) {  // each "a", "a.b", "a.b.c" of a.b.c
    end = std::min(full.find('.', end + 1), full.size());
    if (has(kHarmfulMembers, std::string_view(full).substr(0, end))) return true;
  }
  // "torch", "serialization.os.system": a dotted name walks through whatever the module itself has imported.
  if (name.find('.') == std::string_view::npos) return false;
  for (std::string_view rest = name; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find('.'));
    if (part.starts_with("__") || has(kBuiltins, part) || has(kHarmfulPackages, part)) return true;
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  }
  return false;
}

}  // namespace beit
