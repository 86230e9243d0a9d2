#include "benchmark/kmeans.h"

static const nichelm::benchmark::Register registered("kmeans", nichelm::benchmark::kmeans);
