#include "benchmark/attention.h"

static const nichelm::benchmark::Register attention("attention", nichelm::benchmark::attention);
