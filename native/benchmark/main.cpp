// nichelm_bench [NAME] [--threads N] [--isa NAME] [--json]: runs the benchmarks whose names contain NAME, prints a table or JSON lines.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "benchmark/benchmark.h"

namespace {

using namespace nichelm;
using benchmark::Result;

struct Arguments {
  std::string name;
  int threads = 0;
  Isa isa = best_isa();
  bool json = false;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw Error(ErrorCode::argument, argument + " needs a value");
      return argv[++i];
    };
    if (argument == "--threads") {
      const std::string text = value();
      char* end;
      arguments.threads = static_cast<int>(std::strtol(text.c_str(), &end, 10));
      if (*end || end == text.c_str() || arguments.threads < 1) throw Error(ErrorCode::argument, "--threads must be a number of at least 1; got '" + text + "'");
    } else if (argument == "--isa") {
      arguments.isa = parse_isa(value());
    } else if (argument == "--json") {
      arguments.json = true;
    } else if (argument[0] == '-' || !arguments.name.empty()) {
      throw Error(ErrorCode::argument, "unknown argument '" + argument + "'; usage: nichelm_bench [NAME] [--threads N] [--isa NAME] [--json]");
    } else {
      arguments.name = argument;
    }
  }
  return arguments;
}

void print_json(const Result& r, const Cpu& device) {
  std::printf("{\"benchmark\":\"%s\",\"what\":\"%s\",\"shape\":\"%s\",\"type\":\"%s\",\"isa\":\"%s\",\"threads\":%d,\"seconds\":%.9g", r.benchmark.c_str(), r.what.c_str(), r.shape.c_str(),
              r.type.c_str(), name_of(device.isa()), device.threads(), r.seconds);
  if (r.flops > 0) std::printf(",\"gflops\":%.2f", r.flops * 1e-9);
  if (r.peak > 0) std::printf(",\"peak_gflops\":%.2f,\"peak_share\":%.4f", r.peak * 1e-9, r.flops / r.peak);
  if (r.bytes > 0) std::printf(",\"gigabytes_per_second\":%.3f", r.bytes * 1e-9);
  if (r.peak_bytes > 0) std::printf(",\"peak_share\":%.4f", r.bytes / r.peak_bytes);
  std::printf("}\n");
}

void print_row(const Result& r) {
  std::printf("%-36s %-22s %-5s %10.3f", r.what.c_str(), r.shape.c_str(), r.type.c_str(), r.seconds * 1e3);
  r.flops > 0 ? std::printf(" %9.1f", r.flops * 1e-9) : std::printf(" %9s", "-");
  const double share = r.peak > 0 ? r.flops / r.peak : r.peak_bytes > 0 ? r.bytes / r.peak_bytes : 0;
  share > 0 ? std::printf(" %6.1f%%", 100 * share) : std::printf(" %7s", "-");
  r.bytes > 0 ? std::printf(" %8.2f\n", r.bytes * 1e-9) : std::printf(" %8s\n", "-");
}

int run_benchmarks(const Arguments& arguments) {
  Cpu device(arguments.threads, arguments.isa);
  int found = 0;
  for (const auto& entry : benchmark::entries()) {
    if (entry.name.find(arguments.name) == std::string::npos) continue;
    ++found;
    if (!arguments.json) std::printf("%s, %s, threads %d\n%-36s %-22s %-5s %10s %9s %7s %8s\n", entry.name.c_str(), name_of(device.isa()), device.threads(), "what", "shape", "type", "ms", "GFLOP/s", "peak", "GB/s");
    for (const Result& result : entry.body(device)) arguments.json ? print_json(result, device) : print_row(result);
    std::fflush(stdout);
  }
  if (found) return 0;
  std::fprintf(stderr, "no benchmark has '%s' in its name; there are:", arguments.name.c_str());
  for (const auto& entry : benchmark::entries()) std::fprintf(stderr, " %s", entry.name.c_str());
  std::fprintf(stderr, "\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_benchmarks(parse(argc, argv));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "nichelm_bench: %s\n", e.what());
    return 2;
  }
}
