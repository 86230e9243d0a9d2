// Variables of the environment for as long as this lives; null: not set.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace nichelm::test {

class Environment {
 public:
  Environment(std::initializer_list<std::pair<const char*, const char*>> variables) {
    for (const auto& [name, value] : variables) {
      const char* before = std::getenv(name);
      before_.push_back({name, before != nullptr, before ? before : ""});
      value ? setenv(name, value, 1) : unsetenv(name);
    }
  }
  ~Environment() {
    for (const Before& b : before_) b.set ? setenv(b.name, b.value.c_str(), 1) : unsetenv(b.name);
  }
  Environment(const Environment&) = delete;

 private:
  struct Before { const char* name; bool set; std::string value; };
  std::vector<Before> before_;
};

}  // namespace nichelm::test
