# shellcheck shell=bash
# What the scripts for CUDA share. Sourced from the repository's root.

# has_nvcc: whether there is an nvcc; the toolkit's own folder, often not in the PATH, is put there.
has_nvcc() {
  if ! command -v nvcc >/dev/null && [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin; fi
  command -v nvcc >/dev/null
}

# require_cuda_tools [TOOL...]: nvcc, CMake and the tools named, before any time is spent.
require_cuda_tools() {
  has_nvcc || true
  local missing=() tool
  for tool in nvcc cmake "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} = 0 ] && return
  printf 'Missing: %s. ' "${missing[*]}" >&2
  printf 'nvcc comes with the CUDA toolkit (12.5 or newer, https://developer.nvidia.com/cuda-downloads), nvidia-smi with the driver.\n' >&2
  exit 1
}

# gpu_architectures: what CMake calls the GPUs of this machine, without doubles; nothing where there is none.
gpu_architectures() {
  command -v nvidia-smi >/dev/null || return 0
  { nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true; } | tr -d ' .' | grep -E '^[0-9]+$' | sort -u |
    while read -r capability; do
      # What these have beside their number (wgmma, TMA) is in the architectures of that name alone.
      case $capability in 90 | 100 | 103 | 120 | 121) echo "${capability}a-real" ;; *) echo "$capability-real" ;; esac
    done | paste -sd ';' - || true
}
