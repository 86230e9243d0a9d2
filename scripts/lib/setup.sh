# shellcheck shell=bash
# What scripts/quickstart and scripts/test share: the check of the tools, the packages, the build. Sourced from the repository's root.

logs=build/log

# step WHAT LOG COMMAND...: runs a command with its output in build/log/LOG; says how long it took, or shows the end of the output.
step() {
  local what=$1 log=$logs/$2 started=$SECONDS status=0
  shift 2
  mkdir -p "$logs"
  printf '%s ... ' "$what"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    printf '%s s\n' $((SECONDS - started))
  else
    printf 'failed\n\n'
    tail -n "${failure_lines:-40}" "$log" | sed 's/^/    /'
    printf '\n%s failed (exit code %s). All of its output: %s\n' "$what" "$status" "$log" >&2
    exit 1
  fi
}

# at_least HAVE WANT: compares version numbers.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# require_tools: names every tool that is missing and how to get it, before any time is spent.
require_tools() {
  local missing=() packages=() version compiler probe
  if ! version=$(node -p 'process.versions.node' 2>/dev/null); then
    missing+=("Node.js 20 or newer: see https://nodejs.org/en/download, or on Debian/Ubuntu https://github.com/nodesource/distributions")
  elif ! at_least "$version" 20.0.0; then
    missing+=("Node.js 20 or newer (found $version): see https://nodejs.org/en/download, or on Debian/Ubuntu https://github.com/nodesource/distributions")
  fi
  if ! command -v npm >/dev/null; then missing+=("npm: comes with Node.js (Debian's own nodejs leaves it out)"); fi
  if ! version=$(cmake --version 2>/dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p') || [ -z "$version" ]; then
    missing+=("CMake 3.22 or newer"); packages+=(cmake)
  elif ! at_least "$version" 3.22; then
    missing+=("CMake 3.22 or newer (found $version): a newer one comes with \`pip install cmake\` or from https://cmake.org/download")
  fi
  if ! command -v ninja >/dev/null && ! command -v make >/dev/null; then missing+=("ninja (or make)"); packages+=(ninja-build); fi
  # CXX may hold more than a name, as in "ccache g++".
  read -ra compiler <<<"${CXX:-$(command -v c++ || command -v g++ || command -v clang++ || true)}"
  if [ ${#compiler[@]} = 0 ]; then
    missing+=("a C++20 compiler: GCC 11 or newer, or Clang 14 or newer"); packages+=(g++)
  else
    probe=$(mktemp -d)
    printf '#include <bit>\n#include <concepts>\n#include <span>\nint main() { return std::popcount(0u); }\n' >"$probe/probe.cpp"
    local flags=(-std=c++20)
    case $(uname -m) in x86_64 | amd64) flags+=(-march=x86-64-v4) ;; esac
    if ! "${compiler[@]}" "${flags[@]}" "$probe/probe.cpp" -o "$probe/probe" 2>/dev/null; then
      missing+=("a C++20 compiler: ${compiler[*]} cannot build a small C++20 program; needed is GCC 11 or newer, or Clang 14 or newer (CXX chooses one)")
    fi
    rm -rf "$probe"
  fi
  [ ${#missing[@]} = 0 ] && return
  printf 'Missing:\n' >&2
  printf '  %s\n' "${missing[@]}" >&2
  if [ ${#packages[@]} != 0 ]; then
    case $(uname -s) in
      Darwin) printf 'Get them with:\n  xcode-select --install; brew install cmake ninja\n' >&2 ;;
      *) printf 'On Debian or Ubuntu get them with:\n  sudo apt-get install %s\n' "${packages[*]}" >&2 ;;
    esac
  fi
  exit 1
}

# install_packages: npm ci, unless node_modules is as new as the lock file. The install scripts are left out: build_addon does their work, with a log.
install_packages() {
  # A linked node_modules belongs to another checkout, and npm would empty that one.
  [ -L node_modules ] && return
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  step 'Installing npm packages' npm.log npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
}

# build_native [with tests]: the addon in build/Release; with an argument also nichelm_test, from the same objects.
build_native() {
  local cache=build/CMakeCache.txt
  # A build folder that was moved, or made by another CMake, cannot be used again.
  if [ -f $cache ] && ! grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" $cache; then rm -rf build; fi
  export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}
  # Configured by cmake-js, built by CMake: `cmake-js compile` answers a compiler's error with a second build from nothing.
  step 'Configuring the native build' configure.log node_modules/.bin/cmake-js configure ${1:+--CDNICHELM_TESTS=ON}
  step "Building the native addon${1:+ and the native tests}" native.log cmake --build build --config Release
}

# build_typescript: dist, without leftovers of files that are gone.
build_typescript() {
  rm -rf dist
  step 'Compiling TypeScript' typescript.log node_modules/.bin/tsc
}
