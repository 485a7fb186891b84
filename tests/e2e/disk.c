/* Preloaded into a process, this has the disk fail under it: calls that touch what lies below DISK_ROOTS (folders, with a colon between them) are
   counted, and the one whose number DISK_FAULT says fails with EIO; also all that follow, if they are to. DISK_FAULT is a file of three 64-bit integers in
   the machine's own byte order: the number of the call, whether it stays so, and how many there were. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 65536

static volatile int64_t *fault;
static const char *roots;
static volatile char ours[FILES];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAULT");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    roots = getenv("DISK_ROOTS");
    /* Of the process that the test has started only: what it starts itself has its own faults. */
    unsetenv("LD_PRELOAD");
    if (file < 0 || !roots)
        return;
    void *mapped = mmap(NULL, 3 * sizeof *fault, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        fault = mapped;
}

static int is_below(const char *path) {
    if (!fault || !path)
        return 0;
    for (const char *root = roots; *root;) {
        size_t length = strcspn(root, ":");
        if (strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0))
            return 1;
        root += length + (root[length] == ':');
    }
    return 0;
}

static int is_ours(int file) {
    return fault && file >= 0 && file < FILES && ours[file];
}

/* Counts a call; whether it is to fail. */
static int fails(void) {
    int64_t number = __atomic_add_fetch(&fault[2], 1, __ATOMIC_SEQ_CST);
    if (fault[0] == 0 || (fault[1] ? number < fault[0] : number != fault[0]))
        return 0;
    errno = EIO;
    return 1;
}

static int opened(int file, int is) {
    if (file >= 0 && file < FILES)
        ours[file] = (char)is;
    return file;
}

#define REAL(name, result, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) \
        real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        REAL(name, int, const char *, int, ...); \
        int is = is_below(path); \
        return is && fails() ? -1 : opened(real(path, flags, mode), is); \
    }
OPEN(open)
OPEN(open64)

int close(int file) {
    REAL(close, int, int);
    opened(file, 0);
    return real(file);
}

/* Calls that have a path first, and those that have a file. */
#define ON_PATH(name, parameters, arguments, ...) \
    int name parameters { \
        REAL(name, int, __VA_ARGS__); \
        return is_below(path) && fails() ? -1 : real arguments; \
    }
#define ON_FILE(result, name, parameters, arguments, ...) \
    result name parameters { \
        REAL(name, result, __VA_ARGS__); \
        return is_ours(file) && fails() ? -1 : real arguments; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
ON_PATH(unlink, (const char *path), (path), const char *)
ON_PATH(rename, (const char *path, const char *to), (path, to), const char *, const char *)
ON_PATH(link, (const char *path, const char *to), (path, to), const char *, const char *)
ON_PATH(stat64, (const char *path, struct stat64 *into), (path, into), const char *, struct stat64 *)
ON_PATH(lstat64, (const char *path, struct stat64 *into), (path, into), const char *, struct stat64 *)
ON_FILE(ssize_t, read, (int file, void *into, size_t length), (file, into, length), int, void *, size_t)
ON_FILE(ssize_t, pread64, (int file, void *into, size_t length, off64_t at), (file, into, length, at), int, void *, size_t, off64_t)
ON_FILE(ssize_t, write, (int file, const void *from, size_t length), (file, from, length), int, const void *, size_t)
ON_FILE(int, fsync, (int file), (file), int)
ON_FILE(int, ftruncate64, (int file, off64_t length), (file, length), int, off64_t)
ON_FILE(int, fstat64, (int file, struct stat64 *into), (file, into), int, struct stat64 *)

int linkat(int folder, const char *path, int to_folder, const char *to, int flags) {
    REAL(linkat, int, int, const char *, int, const char *, int);
    return is_below(path) && fails() ? -1 : real(folder, path, to_folder, to, flags);
}

int statx(int folder, const char *restrict path, int flags, unsigned int mask, struct statx *restrict into) {
    REAL(statx, int, int, const char *, int, unsigned int, struct statx *);
    int is = *path ? is_below(path) : is_ours(folder);
    return is && fails() ? -1 : real(folder, path, flags, mask, into);
}

DIR *opendir(const char *path) {
    REAL(opendir, DIR *, const char *);
    int is = is_below(path);
    if (is && fails())
        return NULL;
    DIR *folder = real(path);
    if (folder)
        opened(dirfd(folder), is);
    return folder;
}

struct dirent64 *readdir64(DIR *folder) {
    REAL(readdir64, struct dirent64 *, DIR *);
    return is_ours(dirfd(folder)) && fails() ? NULL : real(folder);
}
