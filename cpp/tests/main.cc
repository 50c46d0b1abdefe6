// xnornet_tests [GOLDEN_FILE]: test every kernel set that this CPU has.
#include <exception>

#include "runtime/dispatch.h"
#include "tests/test.h"

int main(int argc, char** argv) {
  using namespace xnornet;
  int failures = 0;
  try {
    for (const KernelSet* set : kernel_sets()) {
      if (const std::string missing = missing_features(*set); !missing.empty()) {
        std::printf("%-9s skipped: this CPU lacks %s\n", set->name, missing.c_str());
        continue;
      }
      Report report;
      test_bit_gemm(*set, report);
      test_float_gemm(*set, report);
      test_bit_weights(*set, report);
      test_pixel_gemm(*set, report);
      test_digit_gemm(*set, report);
      test_byte_gemm(*set, report);
      test_depthwise(*set, report);
      test_chain(*set, report);
      test_max(*set, report);
      test_mean(*set, report);
      test_signs(*set, report);
      for (int i = 1; i < argc; ++i) test_golden(*set, argv[i], report);
      std::printf("%-9s %d checks, %d failures\n", set->name, report.checks, report.failures);
      failures += report.failures;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "xnornet_tests: %s\n", error.what());
    return 2;
  }
  return failures ? 1 : 0;
}
