#include "runtime/program.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <map>

namespace nichelm {
namespace {

template <class T> constexpr const char* kind_of() {
  if constexpr (std::is_same_v<T, In>) return "in";
  else if constexpr (std::is_same_v<T, Out>) return "out";
  else if constexpr (std::is_same_v<T, InOut>) return "inout";
  else if constexpr (std::is_same_v<T, Accumulate>) return "accumulate";
  else if constexpr (std::is_same_v<T, InOptional>) return "in?";
  else if constexpr (std::is_same_v<T, OutOptional>) return "out?";
  else if constexpr (std::is_same_v<T, AccumulateOptional>) return "accumulate?";
  else if constexpr (std::is_same_v<T, float>) return "float";
  else if constexpr (std::is_same_v<T, bool>) return "bool";
  else return "int";
}

[[noreturn]] void bad(const std::string& what) { throw Error(ErrorCode::argument, what); }

template <class T> T number(std::string_view text, const char* what) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) bad(std::string(what) + " '" + std::string(text) + "' is not a number");
  return value;
}

struct Memory { char* data; int64_t bytes; };

struct Operand { const char *name, *kind; Tensor tensor; };

Tensor parse_operand(std::string_view text, const Memory& memory) {
  const size_t first = text.find(':'), second = text.find(':', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) bad("operand '" + std::string(text) + "' is not OFFSET:TYPE:SHAPE");
  Tensor t;
  const auto offset = number<int64_t>(text.substr(0, first), "offset");
  const std::string_view type = text.substr(first + 1, second - first - 1);
  if (type == "f32") t.type = Type::f32;
  else if (type == "bf16") t.type = Type::bf16;
  else if (type == "i32") t.type = Type::i32;
  else bad("unknown type '" + std::string(type) + "'");
  int64_t cells = 1;
  for (std::string_view rest = text.substr(second + 1);;) {
    const size_t comma = rest.find(',');
    if (t.axes == t.shape.size()) bad("more than 4 axes in '" + std::string(text) + "'");
    const auto axis = number<int64_t>(rest.substr(0, comma), "axis");
    if (axis < 0 || axis > (int64_t{1} << 40)) bad("axis out of range in '" + std::string(text) + "'");
    // An empty tensor's other axes count too: loops go over them.
    if (axis > 0 && axis > (int64_t{1} << 42) / cells) bad("tensor too large in '" + std::string(text) + "'");
    cells *= std::max<int64_t>(1, axis);
    t.shape[t.axes++] = axis;
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (offset < 0 || offset % 64 != 0) bad("offset " + std::to_string(offset) + " is not a multiple of 64");
  if (offset > memory.bytes - t.bytes() || cells > memory.bytes) bad("operand '" + std::string(text) + "' lies outside the arena of " + std::to_string(memory.bytes) + " bytes");
  t.data = memory.data + offset;
  return t;
}

constexpr bool writes(std::string_view kind) { return kind.starts_with("out") || kind.starts_with("inout") || kind.starts_with("accumulate"); }

// A result may take the very place of an operand of its kind, but not lie across one: kernels read some operands twice.
void check_apart(const Operand& a, const Operand& b) {
  const auto *from = static_cast<const char*>(a.tensor.data), *other = static_cast<const char*>(b.tensor.data);
  if (!from || !other || !(writes(a.kind) || writes(b.kind)) || from + a.tensor.bytes() <= other || other + b.tensor.bytes() <= from) return;
  if (a.tensor.bytes() == 0 || b.tensor.bytes() == 0 || (from == other && a.tensor.bytes() == b.tensor.bytes() && a.tensor.type == b.tensor.type)) return;
  bad(std::string(a.name) + " and " + b.name + " overlap");
}

template <class T> void parse_value(std::string_view text, const Memory& memory, T& into) {
  if constexpr (std::is_base_of_v<Tensor, T>) {
    if (text == "-") {
      if (std::string_view(kind_of<T>()).back() != '?') bad("the operand is not optional");
      static_cast<Tensor&>(into) = Tensor{};
    } else {
      static_cast<Tensor&>(into) = parse_operand(text, memory);
    }
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text != "0" && text != "1") bad("'" + std::string(text) + "' is not 0 or 1");
    into = text == "1";
  } else {
    into = number<T>(text, "attribute");
  }
}

using Values = std::map<std::string_view, std::string_view>;

template <class Op> std::shared_ptr<const void> parse_op(const Values& values, const Memory& memory) {
  auto op = std::make_shared<Op>();
  constexpr auto fields = Op::fields();
  size_t found = 0;
  std::vector<Operand> operands;
  const auto fill = [&]<class T>(const char* name, T Op::*member) {
    const auto value = values.find(name);
    if (value == values.end()) bad(std::string("'") + name + "' is missing");
    ++found;
    try {
      parse_value(value->second, memory, (*op).*member);
    } catch (const Error& e) {
      bad(std::string(name) + ": " + e.what());
    }
    if constexpr (std::is_base_of_v<Tensor, T>) {
      for (const Operand& other : operands) check_apart(other, {name, kind_of<T>(), (*op).*member});
      operands.push_back({name, kind_of<T>(), (*op).*member});
    }
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (fill(fields.names[I], std::get<I>(fields.members)), ...); }(std::make_index_sequence<fields.names.size()>{});
  if (found != values.size()) bad("more fields than the op has");
  op->check();
  return op;
}

template <class Op> OpInfo info_of() {
  constexpr auto fields = Op::fields();
  OpInfo info{fields.op, {}};
  const auto add = [&]<class T>(const char* name, T Op::*) { info.fields.push_back({name, kind_of<T>()}); };
  [&]<size_t... I>(std::index_sequence<I...>) { (add(fields.names[I], std::get<I>(fields.members)), ...); }(std::make_index_sequence<fields.names.size()>{});
  return info;
}

template <class... Ops> std::vector<OpInfo> infos(OpList<Ops...>) { return {info_of<Ops>()...}; }

using Parser = std::shared_ptr<const void> (*)(const Values&, const Memory&);
template <class... Ops> std::vector<Parser> parsers(OpList<Ops...>) { return {parse_op<Ops>...}; }

std::string_view take(std::string_view& text, char until) {
  const size_t end = text.find(until);
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return taken;
}

}  // namespace

const std::vector<OpInfo>& op_table() {
  static const std::vector<OpInfo> table = infos(AllOps{});
  return table;
}

std::vector<ProgramCall> read_program(std::string_view text, char* data, int64_t bytes) {
  const Memory memory{data, bytes};
  static const std::vector<Parser> parse = parsers(AllOps{});
  static const std::map<std::string_view, int> places = [] {
    std::map<std::string_view, int> by_name;
    for (size_t i = 0; i < op_table().size(); ++i) by_name[op_table()[i].name] = static_cast<int>(i);
    return by_name;
  }();
  std::vector<ProgramCall> calls;
  if (take(text, '\n') != "nichelm-program 1") bad("not a program: the first line must be 'nichelm-program 1'");
  for (int line = 2; !text.empty(); ++line) {
    std::string_view rest = take(text, '\n');
    if (rest.empty()) continue;
    const std::string_view name = take(rest, ' ');
    const std::string where = "program line " + std::to_string(line) + ", " + std::string(name) + ": ";
    const auto place = places.find(name);
    if (place == places.end()) bad(where + "there is no such op");
    Values values;
    while (!rest.empty()) {
      std::string_view value = take(rest, ' ');
      const std::string_view field = take(value, '=');
      if (!values.emplace(field, value).second) bad(where + "'" + std::string(field) + "' is given twice");
    }
    try {
      calls.push_back({place->second, parse[static_cast<size_t>(place->second)](values, memory)});
    } catch (const Error& e) {
      bad(where + e.what());
    }
  }
  return calls;
}

Program::Program(std::string_view text, const Arena& arena, Isa isa) : kernels_(kernels(isa)), calls_(read_program(text, arena.data(), arena.bytes())) {}

void Program::run(Cpu& device) const {
  for (const ProgramCall& call : calls_) kernels_[static_cast<size_t>(call.op)](device, call.values.get());
}

std::vector<Program::Timing> Program::profile(Cpu& device) const {
  std::map<int, Timing> by_op;
  for (const ProgramCall& call : calls_) {
    const auto start = std::chrono::steady_clock::now();
    kernels_[static_cast<size_t>(call.op)](device, call.values.get());
    Timing& timing = by_op.try_emplace(call.op, Timing{op_table()[static_cast<size_t>(call.op)].name, 0, 0}).first->second;
    timing.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ++timing.calls;
  }
  std::vector<Timing> timings;
  for (const auto& [op, timing] : by_op) timings.push_back(timing);
  return timings;
}

}  // namespace nichelm
