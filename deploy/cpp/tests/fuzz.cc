// Feeds every named file to every parser of untrusted bytes. Prints one line for each file: its path, then for picture,
// JSON, input spec, .npy and contract the failure's message or "ok", with tabs between. Only a crash makes it fail.
#include <cstdio>

#include "contract.h"
#include "failure.h"
#include "files.h"
#include "npy.h"
#include "preprocess.h"

namespace {

using namespace glorext;

template <class Body>
std::string outcome(const Body& body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "ok";
}

void preprocess_both_ways(const Picture& picture) {
  InputSpec spec;
  spec.size = 24;
  spec.resize = 32;
  for (const ResizeRule rule : {ResizeRule::squash, ResizeRule::short_side}) {
    spec.rule = rule;
    Preprocess(spec).cropped(picture);
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string path = argv[i];
    const std::string picture = outcome([&] { preprocess_both_ways(decode_picture(read_file(path, 1 << 26))); });
    const std::string json = outcome([&] { parse_json(read_file(path, 1 << 26), "json").dump(); });
    const std::string spec = outcome([&] { read_input_spec(path); });
    const std::string npy = outcome([&] { read_npy(path); });
    const std::string contract = outcome([&] { read_contract_file(path); });
    std::printf("%s\t%s\t%s\t%s\t%s\t%s\n", path.c_str(), picture.c_str(), json.c_str(), spec.c_str(), npy.c_str(),
                contract.c_str());
  }
  return 0;
}
