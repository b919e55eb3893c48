// What is on these pictures? Built against an installed libglorext: see CMakeLists.txt beside this file.
#include <glorext/classifier.h>

#include <fstream>
#include <iostream>
#include <iterator>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: classify MODEL PICTURE...\n";
    return 2;
  }
  try {
    const glorext::Classifier classifier(argv[1]);
    for (int i = 2; i < argc; ++i) {
      // From memory, as a server would have it; classify_file(argv[i]) reads the file by itself.
      std::ifstream file(argv[i], std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      const glorext::Result result = classifier.classify_bytes(bytes.data(), bytes.size());
      std::cout << argv[i] << ": " << result.top[0].label << ' ' << result.top[0].probability << '\n';
    }
  } catch (const glorext::Error& error) {
    std::cerr << "classify: " << error.what() << '\n';
    return 1;
  }
}
