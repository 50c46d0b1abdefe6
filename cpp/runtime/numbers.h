// How a network is computed where there is a faster way that rounds otherwise than PyTorch does.
#pragma once

#include <stdexcept>
#include <string>

namespace xnornet {

// A first convolution of 8-bit pixels: in floats; in fixed point of 24 bits, about as exact
// (ops/digit_conv.h); or in integers of 16 bits (ops/pixel_conv.h). What the kernels cannot do is done in
// floats.
enum class Stem { kFloat, kFixed, kInteger };
inline constexpr const char* kStems[] = {"float", "fixed", "integer"};

// The real inputs of convolutions with 1-bit weights: as they are, or rounded to 8 bits (ops/byte_conv.h).
enum class Activations { kFloat, kInt8 };
inline constexpr const char* kActivations[] = {"float", "int8"};

struct Numbers {
  Stem stem = Stem::kFloat;
  Activations activations = Activations::kFloat;
};

// Which of `names`, in the order of the enumeration, `name` is; `what` names the choice in the error
// (std::invalid_argument) where it is none.
template <class Choice, size_t kCount>
Choice choice_of(const char* const (&names)[kCount], const std::string& name, const std::string& what) {
  std::string list;
  for (size_t i = 0; i < kCount; ++i) {
    if (name == names[i]) return static_cast<Choice>(i);
    list += (i == 0 ? "" : i + 1 < kCount ? ", " : " or ") + std::string(names[i]);
  }
  throw std::invalid_argument(what + " is '" + name + "'; give " + list);
}

}  // namespace xnornet
