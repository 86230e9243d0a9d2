#include "benchmark/cuda.h"

#include <algorithm>
#include <cstdlib>

#include "cuda/peak.h"
#include "runtime/bf16.h"

namespace nichelm::benchmark {

std::string CudaText::place(Type type, const std::vector<int64_t>& shape) {
  std::string text = std::to_string(bytes_) + ":" + name_of(type) + ":";
  int64_t size = 1;
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]), size *= shape[i];
  bytes_ += (size * bytes_of(type) + 255) / 256 * 256;
  return text;
}

std::string CudaText::repeated(int times, int copies) const {
  const size_t head = text_.find('\n') + 1;
  std::string text = text_.substr(0, head);
  for (int i = 0; i < times; ++i) {
    for (size_t at = head; at < text_.size();) {  // an operand: =OFFSET:TYPE:SHAPE
      const size_t digits = text_.find('=', at) + 1, end = digits ? text_.find_first_not_of("0123456789", digits) : std::string::npos;
      if (!digits) {
        text += text_.substr(at);
        break;
      }
      const bool operand = end != std::string::npos && end > digits && text_[end] == ':';
      text += text_.substr(at, digits - at);
      if (operand) text += std::to_string(std::strtoll(text_.c_str() + digits, nullptr, 10) + i % copies * bytes_);
      at = operand ? end : digits;
    }
  }
  return text;
}

CudaOperand parse_cuda_operand(const std::string& text) {
  CudaOperand operand{std::strtoll(text.c_str(), nullptr, 10), Type::f32, 1};
  const size_t first = text.find(':'), second = text.find(':', first + 1);
  require(first != std::string::npos && second != std::string::npos, "an operand must be OFFSET:TYPE:SHAPE");
  const std::string type = text.substr(first + 1, second - first - 1);
  operand.type = type == "bf16" ? Type::bf16 : type == "i32" ? Type::i32 : Type::f32;
  for (size_t at = second; at != std::string::npos; at = text.find(',', at + 1)) operand.size *= std::strtoll(text.c_str() + at + 1, nullptr, 10);
  return operand;
}

std::vector<std::string> operands_of(const std::string& text, const std::string& op, const std::string& field) {
  std::vector<std::string> found;
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    const std::string call = text.substr(line, end - line), wanted = " " + field + "=";
    if (call.compare(0, op.size() + 1, op + " ") == 0) {
      const size_t at = call.find(wanted);
      if (at != std::string::npos) found.push_back(call.substr(at + wanted.size(), call.find(' ', at + 1) - at - wanted.size()));
    }
    line = end + 1;
  }
  return found;
}

namespace {

// Values in pieces, so that large operands need no array of their size here.
template <class T, class Make> void fill_in_pieces(CudaMemory& memory, const CudaOperand& operand, const Make& make) {
  constexpr int64_t kPiece = 1 << 20;
  std::vector<T> values(static_cast<size_t>(std::min(kPiece, operand.size)));
  for (T& value : values) value = make();
  for (int64_t done = 0; done < operand.size; done += kPiece) {
    values.resize(static_cast<size_t>(std::min(kPiece, operand.size - done)));
    memory.write(operand.offset + done * static_cast<int64_t>(sizeof(T)), values);
  }
}

}  // namespace

void CudaMemory::fill(const std::string& text, float scale) {
  const CudaOperand operand = parse_cuda_operand(text);
  uint32_t seed = static_cast<uint32_t>(operand.offset / 256 + 1);
  const auto next = [&] {  // the sum of three uniform numbers
    float sum = 0;
    for (int i = 0; i < 3; ++i) seed = seed * 1664525 + 1013904223, sum += static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
    return sum * scale;
  };
  if (operand.type == Type::f32) fill_in_pieces<float>(*this, operand, next);
  else fill_in_pieces<Bf16>(*this, operand, [&] { Bf16 value; narrow(next(), value); return value; });
}

void CudaMemory::fill_integers(const std::string& text, int64_t below) {
  uint32_t seed = 1;
  fill_in_pieces<int32_t>(*this, parse_cuda_operand(text), [&] { seed = seed * 1664525 + 1013904223; return static_cast<int32_t>((seed >> 8) % static_cast<uint32_t>(below)); });
}

void CudaMemory::fill_with(const std::string& text, float value) {
  fill_in_pieces<float>(*this, parse_cuda_operand(text), [&] { return value; });
}

double measure(CudaDevice&, CudaProgram& program, bool small) {
  if (small) return program.seconds(1);
  const double once = program.seconds(2);  // warms up too
  const int times = static_cast<int>(std::clamp(0.05 / std::max(once, 1e-7), 1.0, 1000.0));
  std::vector<double> all;
  for (int i = 0; i < 5; ++i) all.push_back(program.seconds(times));
  std::sort(all.begin(), all.end());
  return all[2];
}

}  // namespace nichelm::benchmark
