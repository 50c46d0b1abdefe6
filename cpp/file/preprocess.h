// How an image becomes the input: xnornet/preprocess.py says what each field means.
#pragma once

#include <string>
#include <vector>

namespace xnornet {

struct Preprocess {
  int height = 0, width = 0, channels = 0;
  int resize = 0;  // of the smaller side, before the centre is cut out; 0: squash
  std::string interpolation;
  std::vector<float> scale, bias;  // a pixel becomes pixel * scale + bias
};

}  // namespace xnornet
