#include "core/recompute.h"

#include <ATen/autocast_mode.h>

#include <utility>

#include "base/error.h"
#include "core/first_gradients.h"

namespace beit {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kCall = "call";

/// Autocast of one type of device as it was in the forward pass, for as long as this lives. The backward pass may run
/// on another thread, where it is off. Its cache of weights is left alone: each weight serves once.
class Autocast {
 public:
  struct State {
    torch::DeviceType device = torch::kCPU;
    bool enabled = false;
    torch::ScalarType dtype = torch::kBFloat16;
  };

  static State state(torch::DeviceType device) {
    return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
  }

  explicit Autocast(const State& wanted)
      : before_(state(wanted.device)), caching_before_(at::autocast::is_autocast_cache_enabled()) {
    set(wanted, false);
  }
  ~Autocast() { set(before_, caching_before_); }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  static void set(const State& state, bool caching) {
    at::autocast::set_autocast_enabled(state.device, state.enabled);
    at::autocast::set_autocast_dtype(state.device, state.dtype);
    at::autocast::set_autocast_cache_enabled(caching);
  }

  State before_;
  bool caching_before_;
};

/// What the backward pass takes beside the saved tensors.
struct Call : torch::CustomClassHolder {
  Recomputed body;
  std::vector<bool> defined;  ///< of the inputs
  Autocast::State autocast;

  /// On copies of the inputs that the graph outside does not know, with gradients: the body may choose its way by
  /// whether they are wanted, and both passes must go the same.
  torch::Tensor run(torch::TensorList given, variable_list& copies) const {
    const torch::AutoGradMode with_gradients(true);
    const Autocast as_before(autocast);
    std::vector<torch::Tensor> inputs;
    for (const bool is_defined : defined) {
      inputs.emplace_back();
      if (!is_defined) continue;
      const auto& original = given[copies.size()];
      inputs.back() = original.detach().requires_grad_(original.requires_grad());
      copies.push_back(inputs.back());
    }
    return body(inputs);
  }
};

/// The tensors are the defined inputs, then the parameters.
struct Recompute : torch::autograd::Function<Recompute> {
  static torch::Tensor forward(AutogradContext* context, torch::TensorList tensors,
                               const c10::intrusive_ptr<Call>& call) {
    context->save_for_backward(tensors.vec());
    context->saved_data[kCall] = c10::IValue::make_capsule(call);
    variable_list copies;
    return call->run(tensors, copies).variable_data();
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    refuse_gradients_of_gradients("recompute", "switch recomputation off");
    const auto tensors = context->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<Call>(context->saved_data.at(kCall).toCapsule());
    variable_list sources;
    const auto output = call->run(tensors, sources);
    sources.insert(sources.end(), tensors.begin() + static_cast<std::ptrdiff_t>(sources.size()), tensors.end());

    std::vector<size_t> wanted;
    variable_list wanted_sources;
    for (size_t i = 0; i < sources.size(); ++i) {
      if (!sources[i].requires_grad()) continue;
      wanted.push_back(i);
      wanted_sources.push_back(sources[i]);
    }
    const auto found = torch::autograd::grad({output}, wanted_sources, output_gradients, /*retain_graph=*/false,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    variable_list gradients(sources.size() + 1);  // none for the call
    for (size_t i = 0; i < wanted.size(); ++i) gradients[wanted[i]] = found[i];
    return gradients;
  }
};

}  // namespace

torch::Tensor recompute(Recomputed body, const std::vector<torch::Tensor>& inputs,
                        const std::vector<torch::Tensor>& parameters) {
  auto call = c10::make_intrusive<Call>();
  variable_list tensors;
  for (const auto& input : inputs) {
    call->defined.push_back(input.defined());
    if (input.defined()) tensors.push_back(input);
  }
  require(!tensors.empty(), "recompute: expected at least one input, got none; hand in what the body works on");
  call->body = std::move(body);
  call->autocast = Autocast::state(tensors.front().device().type());
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  return Recompute::apply(torch::TensorList(tensors), call);
}

}  // namespace beit
