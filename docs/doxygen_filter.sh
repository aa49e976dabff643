#!/bin/sh
# doxygen_filter.sh HEADER: the header, its first comment as Doxygen's description of the file.
exec sed -e '1,/^#pragma once/s|^// |/// |' -e '1s|^|/// @file\n|' "$1"
