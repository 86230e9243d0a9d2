#include "cuda/products.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "runtime/error.h"

namespace nichelm {
namespace {

constexpr int kKernels = 1;      // raised when nichelm's own products change: what was measured of them counts no more
constexpr int kProposals = 4;    // of cuBLASLt's, that are measured
constexpr double kGain = 0.97;   // its time as a share of nichelm's from which on it is taken

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string default_file() {
  const std::string cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  return (cache.empty() ? home + "/.cache" : cache) + "/nichelm/products.txt";
}

int alignment_of(const void* place) {
  const auto address = reinterpret_cast<uintptr_t>(place) | 256;
  return static_cast<int>(address & ~(address - 1));
}

// As "bf16 32768 x 3072 x 1024, a bᵀ, to bf16, bias": with all that a plan depends on.
std::string name_of(const LibraryProduct& p, const std::string& epilogue) {
  std::ostringstream text;
  text << (p.bf16 ? "bf16 " : "f32 ") << p.m << " x " << p.n << " x " << p.k;
  if (p.groups > 1) text << " in " << p.groups << " groups";
  text << (p.transpose_a ? ", aT" : ", a") << (p.transpose_b ? " bT" : " b") << (p.c_is_bf16 ? ", to bf16" : ", to f32");
  if (!epilogue.empty()) text << ", " << epilogue;
  const int aligned = std::min({alignment_of(p.a), alignment_of(p.b), alignment_of(p.c), alignment_of(p.addend)});
  if (aligned < 256) text << ", aligned to " << aligned;
  return text.str();
}

[[noreturn]] void fail_file(const std::string& file, const char* what) {
  throw Error(ErrorCode::device, file + ": " + what + ": " + std::strerror(errno) + "; NICHELM_PRODUCTS_FILE names another file for what was measured of matrix products, NICHELM_PRODUCTS=own measures nothing");
}

// The file of measurements, held by this process alone as long as it is open. A line: what it belongs to, the product, own or cublaslt and the number of the
// proposal, seconds of both; fields between tabs.
class File {
 public:
  explicit File(std::string path) : path_(std::move(path)) {
    for (size_t at = path_.find('/', 1); at != std::string::npos; at = path_.find('/', at + 1)) mkdir(path_.substr(0, at).c_str(), 0777);
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail_file(path_, "cannot be opened");
    if (flock(descriptor_, LOCK_EX) != 0) {
      close(descriptor_);
      fail_file(path_, "cannot be locked");
    }
    char piece[4096];
    for (ssize_t got; (got = ::read(descriptor_, piece, sizeof piece)) > 0;) text_.append(piece, static_cast<size_t>(got));
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;

  // What stands behind the first whole line that begins so; empty: none.
  std::string find(const std::string& start) const {
    for (size_t line = 0; line < text_.size();) {
      const size_t end = text_.find('\n', line);
      if (end == std::string::npos) break;
      if (text_.compare(line, start.size(), start) == 0) return text_.substr(line + start.size(), end - line - start.size());
      line = end + 1;
    }
    return {};
  }
  void append(const std::string& line) {
    const std::string whole = (text_.empty() || text_.back() == '\n' ? "" : "\n") + line + "\n";
    if (::write(descriptor_, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) fail_file(path_, "cannot be written");
  }

 private:
  std::string path_, text_;
  int descriptor_;
};

}  // namespace

void Products::open() {
  const std::string wanted = variable("NICHELM_PRODUCTS");
  if (wanted.empty() || wanted == "own") {
    mode_ = Mode::own;
    return;
  }
  if (wanted != "cublaslt" && wanted != "measured") throw Error(ErrorCode::argument, "NICHELM_PRODUCTS=" + wanted + " is none of own, cublaslt, measured");
  library_ = CublasLt::open();
  file_ = variable("NICHELM_PRODUCTS_FILE");
  if (file_.empty()) file_ = default_file();
  mode_ = wanted == "measured" ? Mode::measured : Mode::library;
}

bool Products::choose() {
  if (mode_ == Mode::unknown) open();
  return mode_ != Mode::own;
}

const CublasLt::Plan* Products::plan(const LibraryProduct& product, const std::string& epilogue, bool recording, const std::function<double(const CublasLt::Plan*)>& seconds) {
  const std::string name = name_of(product, epilogue);
  auto found = choices_.find(name);
  if (found == choices_.end()) {
    if (recording) return nullptr;
    Choice choice{};
    if (mode_ == Mode::measured) {
      choice = measure(product, name, seconds);
    } else if (const auto plans = library_->plans(product, 1); !plans.empty()) {
      choice.by_library = true, choice.plan = plans[0];
    }
    found = choices_.emplace(name, choice).first;
  }
  return found->second.by_library ? &found->second.plan : nullptr;
}

Products::Choice Products::measure(const LibraryProduct& product, const std::string& name, const std::function<double(const CublasLt::Plan*)>& seconds) {
  const std::string start = gpu_ + "\tcuBLASLt " + std::to_string(library_->version()) + "\tkernels " + std::to_string(kKernels) + "\t" + name + "\t";
  const std::vector<CublasLt::Plan> plans = library_->plans(product, kProposals);
  const auto read = [&](const std::string& text) {
    std::istringstream words(text);
    std::string chosen;
    Choice choice{};
    if (!(words >> chosen >> choice.proposal >> choice.own_seconds >> choice.library_seconds) || (chosen != "own" && chosen != "cublaslt") || choice.proposal < 0)
      throw Error(ErrorCode::data, file_ + ": what is kept of " + name + " cannot be read; delete that line");
    choice.by_library = chosen == "cublaslt";
    if (!choice.by_library) return choice;
    if (choice.proposal >= static_cast<int>(plans.size())) throw Error(ErrorCode::data, file_ + ": " + name + " was measured with a proposal of cuBLASLt's that it does not make here; delete that line");
    choice.plan = plans[static_cast<size_t>(choice.proposal)];
    return choice;
  };
  if (const std::string kept = File(file_).find(start); !kept.empty()) return read(kept);

  Choice choice{};
  if (!plans.empty()) {
    choice.own_seconds = seconds(nullptr);
    for (size_t i = 0; i < plans.size(); ++i) {
      const double s = seconds(&plans[i]);
      if (i == 0 || s < choice.library_seconds) choice.library_seconds = s, choice.proposal = static_cast<int>(i);
    }
    choice.by_library = choice.library_seconds < kGain * choice.own_seconds;
    choice.plan = plans[static_cast<size_t>(choice.proposal)];
  }
  File file(file_);  // another process may have been faster: what stands there first counts
  if (const std::string kept = file.find(start); !kept.empty()) return read(kept);
  std::ostringstream line;
  line << start << (choice.by_library ? "cublaslt" : "own") << '\t' << choice.proposal << '\t' << choice.own_seconds << '\t' << choice.library_seconds;
  file.append(line.str());
  return choice;
}

CudaProducts Products::describe() {
  choose();
  CudaProducts all;
  all.mode = mode_ == Mode::own ? "own" : mode_ == Mode::measured ? "measured" : "cublaslt";
  if (library_) all.library = library_->path(), all.version = library_->version();
  if (mode_ == Mode::measured) all.file = file_;
  for (const auto& [name, choice] : choices_) all.choices.push_back({name, choice.by_library ? "cublaslt" : "own", choice.own_seconds, choice.library_seconds});
  return all;
}

}  // namespace nichelm
