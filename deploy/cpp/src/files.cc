// Files through POSIX calls, so that every failure carries the system's reason.
#include "files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "failure.h"

namespace glorext {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Failure(what + " " + path + ": " + std::strerror(errno));
}

// A file descriptor that its scope closes, whichever way it is left.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, const char* what)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(what, path);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// What tells a file from others and from its own later versions.
std::string identity_of(const struct stat& info) {
  return std::to_string(info.st_dev) + "." + std::to_string(info.st_ino) + "." + std::to_string(info.st_size) + "." +
         std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
}

size_t regular_size(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail("cannot read", path);
  if (!S_ISREG(info.st_mode)) throw Failure("cannot read " + path + ": not a regular file");
  return static_cast<size_t>(info.st_size);
}

std::string lower(std::string text) {
  for (char& letter : text) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  return text;
}

// Hidden names and what systems leave behind in folders of pictures; train/pictures.py has the same names.
bool is_passed_over(const std::string& name) {
  static const std::set<std::string> kSystem{"thumbs.db", "ehthumbs.db", "desktop.ini",  "icon\r",
                                             "__macosx",  "lost+found",  "@eadir",       "@recycle",
                                             "#recycle",  "#snapshot",   "$recycle.bin", "system volume information"};
  return name[0] == '.' || kSystem.count(lower(name)) > 0;
}

// `inside`: the real names of the folders around this one; a link back to one of them would never end.
void walk(const fs::path& folder, const std::string& prefix, std::vector<fs::path>& inside,
          std::vector<std::string>& found) {
  const fs::path real = fs::canonical(folder);
  if (std::find(inside.begin(), inside.end(), real) != inside.end()) return;
  inside.push_back(real);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().native();
    if (is_passed_over(name)) continue;
    std::error_code error;
    // Pipes, links to nowhere and files of other kinds are listed: they must be reported, not skipped.
    if (fs::is_directory(entry.status(error)))
      walk(entry.path(), prefix + name + "/", inside, found);
    else
      found.push_back(prefix + name);
  }
  inside.pop_back();
}

void write_all(int fd, const void* data, size_t size, const std::string& path) {
  const char* bytes = static_cast<const char*>(data);
  for (size_t done = 0; done < size;) {
    const ssize_t put = ::write(fd, bytes + done, size - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("cannot write", path);
    done += static_cast<size_t>(put);
  }
}

std::string trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

std::string read_file(const std::string& path, size_t limit) {
  // O_NONBLOCK: opening a pipe must not wait for a writer; it is refused as no regular file.
  const Descriptor file(path, O_RDONLY | O_NONBLOCK, "cannot read");
  const size_t size = regular_size(file.get(), path);
  if (size > limit)
    throw Failure("cannot read " + path + ": " + std::to_string(size) + " bytes, more than the limit of " +
                  std::to_string(limit));
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    const ssize_t got = ::read(file.get(), &bytes[have], size - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read", path);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(path, O_RDONLY | O_NONBLOCK, "cannot read");
  size_ = regular_size(file.get(), path);
  if (size_ == 0) throw Failure("cannot read " + path + ": the file is empty");
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) fail("cannot map", path);
  data_ = mapped;
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail("cannot read", path);
  identity_ = identity_of(info);
}

bool MappedFile::is_still(const std::string& path) const {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && identity_of(info) == identity_;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

bool is_picture_name(const std::string& path) {
  const std::string ending = lower(fs::path(path).extension().native());
  return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

std::vector<std::string> list_pictures(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw Failure("the pictures' folder " + folder + " is no folder");
  std::vector<std::string> found;
  std::vector<fs::path> inside;
  try {
    walk(folder, "", inside, found);
  } catch (const fs::filesystem_error& reason) {
    throw Failure(std::string("cannot list the pictures: ") + reason.what());
  }
  if (found.empty()) throw Failure("the pictures' folder " + folder + " holds no files");
  std::sort(found.begin(), found.end());
  return found;
}

void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0) fail("cannot make the folder", path);
}

void write_file(const std::string& path, const void* data, size_t size) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, "cannot write");
  write_all(file.get(), data, size, path);
  if (::fsync(file.get()) != 0) fail("cannot write", path);
}

Stamp stamp_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {static_cast<int64_t>(info.st_size), static_cast<int64_t>(info.st_mtim.tv_sec)};
}

GrowingFile::GrowingFile(std::string path)
    : path_(std::move(path)), fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (fd_ < 0) fail("cannot write", path_);
}

GrowingFile::~GrowingFile() { ::close(fd_); }

bool GrowingFile::lock() const {
  // Where the file system knows no locks, there is none.
  return ::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

size_t GrowingFile::size() const { return regular_size(fd_, path_); }

void GrowingFile::cut(size_t size) const {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("cannot write", path_);
}

void GrowingFile::append(const void* data, size_t size) const { write_all(fd_, data, size, path_); }

void require_space(const std::string& path, uint64_t bytes, const std::string& what) {
  fs::path folder = fs::absolute(path);
  std::error_code error;
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) fail("cannot look at", folder.native());
  const uint64_t free = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  if (free < bytes)
    throw Failure(what + " need " + std::to_string(bytes) + " bytes, " + folder.native() + " has " +
                  std::to_string(free) + " free: make room or choose another folder");
}

void require_replaceable(const std::string& path, const std::string& marker) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  const bool replaceable =
      fs::is_directory(path, error) && (fs::is_empty(path, error) || fs::exists(path + "/" + marker, error));
  if (!replaceable) throw Usage("--out " + path + " exists and is not an earlier result; choose another folder");
}

ResultFolder::ResultFolder(std::string final_path, const std::string& marker) : final_(trimmed(std::move(final_path))) {
  require_replaceable(final_, marker);
  std::error_code error;
  const fs::path parent = fs::path(final_).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (error) throw Failure("cannot make the folder " + parent.native() + ": " + error.message());
  std::string name = (parent / ("." + fs::path(final_).filename().native() + ".part.XXXXXX")).native();
  if (::mkdtemp(name.data()) == nullptr) fail("cannot make a folder beside", final_);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::chmod(name.c_str(), 0777 & ~mask);
  temporary_ = name;
}

ResultFolder::~ResultFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void ResultFolder::commit() {
  std::error_code error;
  fs::remove_all(final_, error);
  fs::rename(temporary_, final_, error);
  if (error) throw Failure("cannot rename " + temporary_ + " to " + final_ + ": " + error.message());
  temporary_.clear();
}

}  // namespace glorext
