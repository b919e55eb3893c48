// Asks AscendCL, which is loaded only here: the program itself is linked to nothing of CANN.
#include "card.h"

#include <dlfcn.h>

#include <algorithm>
#include <cctype>

#include "failure.h"

namespace glorext {
namespace {

constexpr const char* kLibrary = "libascendcl.so";
constexpr const char* kSeeCard = "; `npu-smi info` shows whether the card is well and what else uses its memory";
constexpr size_t kLongestError = 400;

template <class Function>
Function symbol(void* library, const char* name) {
  void* const found = ::dlsym(library, name);
  if (found == nullptr) throw Failure(std::string(kLibrary) + " has no " + name + "; install CANN again");
  return reinterpret_cast<Function>(found);
}

// AscendCL's own words for the last error, and what to look at; nothing where no card was asked for.
std::string card_error() {
  void* const library = ::dlopen(kLibrary, RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return "";
  using Words = const char* (*)();
  const auto recent = reinterpret_cast<Words>(::dlsym(library, "aclGetRecentErrMsg"));
  const char* const words = recent == nullptr ? nullptr : recent();
  std::string line;  // its lines are indented
  for (const char* at = words; at != nullptr && *at != '\0' && line.size() < kLongestError; ++at)
    if (!std::isspace(static_cast<unsigned char>(*at)))
      line += *at;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  return (line.empty() ? "" : "; AscendCL: " + printable(line)) + kSeeCard;
}

}  // namespace

Json Card::json() const {
  return count == 0 ? Json() : Json(Json::Object{{"id", id}, {"count", count}, {"chip", chip}});
}

std::string family_of(const std::string& chip) {
  std::string name = chip;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  std::string best;
  for (const std::string& family : kFamilies)
    if (name.compare(0, family.size(), family) == 0 && family.size() > best.size()) best = family;
  return best;
}

Card find_card(const std::string& device, int id) {
  const std::string flag = "--device " + device + ": ";
  // The runtime's own message for a missing CANN names only one of its many libraries.
  void* const library = ::dlopen(kLibrary, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr)
    throw Failure(flag + "the CANN runtime is not there (" + ::dlerror() +
                  "); install CANN with the driver of this card and run `source .../set_env.sh`, "
                  "or choose --device cpu");
  uint32_t count = 0;
  const int error = symbol<int (*)(uint32_t*)>(library, "aclrtGetDeviceCount")(&count);
  if (error != 0)
    throw Failure(flag + "AscendCL cannot count the cards, error " + std::to_string(error) +
                  "; see whether `npu-smi info` shows them and this user may use them");
  if (id < 0 || static_cast<uint32_t>(id) >= count)
    throw Failure("--device_id " + std::to_string(id) + ": this machine has " + std::to_string(count) +
                  (count == 1 ? " card" : " cards") + ", counted from 0" +
                  (count == 0 ? "; see `npu-smi info`" : "; choose 0 to " + std::to_string(count - 1)));
  const char* const chip = symbol<const char* (*)()>(library, "aclrtGetSocName")();
  if (chip == nullptr) throw Failure(flag + "AscendCL does not say which chip this is; see `npu-smi info`");
  if (const std::string family = family_of(chip); family != device)
    throw Failure(flag + "the chip of this machine is " + printable(chip) +
                  (family.empty() ? ", which this program does not know"
                                  : "; choose --device " + family + " and a model that was converted for it"));
  // What stands in for AscendCL where there is no card says so, and its answers must never pass for a card's.
  using Words = const char* (*)();
  const auto stand_in = reinterpret_cast<Words>(::dlsym(library, "glorext_stand_in"));
  return {id, count, chip, stand_in == nullptr ? "" : stand_in()};
}

std::string reason_of(const std::string& words) {
  const size_t end = words.find_last_not_of(". \n");
  return words.substr(0, end == std::string::npos ? 0 : end + 1) + card_error();
}

void require_model_for(const Contract& contract, const std::string& device, const Card& card) {
  if (contract.family.empty()) return;
  const std::string begin = contract.model_path + ": ";
  const std::string again = "; convert it again with `glorext convert --target ";
  if (contract.family != device) {
    const std::string made = contract.family == "cpu" ? "rearranged for the cpu" : "compiled for " + contract.family;
    throw Usage(begin + "the model was " + made + " and runs nowhere else, not on " + device + again + device + "`");
  }
  if (!contract.chip.empty() && contract.chip != card.chip)
    throw Usage(begin + "the model was compiled for " + contract.chip + ", and the chip of this machine is " +
                printable(card.chip) + again + printable(card.chip) + "`");
}

int64_t prepared_size(const std::vector<int64_t>& sizes, int64_t rows) {
  const auto found = std::lower_bound(sizes.begin(), sizes.end(), rows);
  if (found == sizes.end())
    throw Usage("--batch " + std::to_string(rows) + ": the largest size that the model was prepared for is " +
                (sizes.empty() ? "none" : std::to_string(sizes.back())) +
                "; leave --batch out, or convert it again with this size among --dynamic_dims");
  return *found;
}

}  // namespace glorext
