// Files: read whole, map read-only, list a folder of pictures, write a folder atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace glorext {

// The bytes of a regular file. Throws Failure (missing, no permission, larger than `limit` bytes).
std::string read_file(const std::string& path, size_t limit);

// A file mapped into memory read-only for the life of the object.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const void* data() const { return data_; }
  size_t size() const { return size_; }
  // Whether `path` names the very file that was mapped, unchanged since.
  bool is_still(const std::string& path) const;

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
  std::string identity_;
};

// Whether a file is a picture by its name: .jpg, .jpeg or .png in upper or lower case.
bool is_picture_name(const std::string& path);

// Everything below `folder` but folders, relative to it, sorted by the bytes of the path. Hidden names and what systems
// leave behind (Thumbs.db, __MACOSX) are passed over, links are followed. What is no picture is listed as well, so
// that it is reported. Throws Failure when the folder is missing or holds no file.
std::vector<std::string> list_pictures(const std::string& folder);

// What tells a file from its later versions, wherever it is mounted; zeros for a file that is not there.
struct Stamp {
  int64_t bytes = 0;
  int64_t modified = 0;  // seconds
  bool operator==(const Stamp& other) const { return bytes == other.bytes && modified == other.modified; }
};

Stamp stamp_of(const std::string& path);

void make_folder(const std::string& path);
void write_file(const std::string& path, const void* data, size_t size);

// A file that is written at its end.
class GrowingFile {
 public:
  // Opens the file, or makes it.
  explicit GrowingFile(std::string path);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;
  // False: another process holds it. It is held until the process ends, however it ends.
  bool lock() const;
  size_t size() const;
  void cut(size_t size) const;
  void append(const void* data, size_t size) const;

 private:
  std::string path_;
  int fd_;
};

// Throws Failure when the file system of `path`, which need not be there yet, has less than `bytes` free.
void require_space(const std::string& path, uint64_t bytes, const std::string& what);

// Throws Usage unless a ResultFolder may take this name: nothing there, an empty folder, or one that holds `marker`.
void require_replaceable(const std::string& path, const std::string& marker);

// A folder filled under a temporary name beside `final_path`; commit() renames it, the destructor removes what was not
// committed. See require_replaceable for what happens to a folder of that name.
class ResultFolder {
 public:
  ResultFolder(std::string final_path, const std::string& marker);
  ~ResultFolder();
  ResultFolder(const ResultFolder&) = delete;
  ResultFolder& operator=(const ResultFolder&) = delete;
  std::string file(const std::string& name) const { return temporary_ + "/" + name; }
  void commit();

 private:
  std::string final_;
  std::string temporary_;
};

}  // namespace glorext
