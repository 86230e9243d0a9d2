// What can go wrong, as the binding reports it. Nothing native ends the process.
#pragma once
#include <stdexcept>
#include <string>

namespace nichelm {

enum class ErrorCode { argument, memory, device, data };

struct Error : std::runtime_error {
  Error(ErrorCode code, const std::string& what) : std::runtime_error(what), code(code) {}
  ErrorCode code;
};

// For checks of operands and arguments: what must hold, in words a user can act on.
[[noreturn]] void fail(ErrorCode code, const char* what);
inline void require(bool holds, const char* what) {
  if (!holds) fail(ErrorCode::argument, what);
}

}  // namespace nichelm
