/*
 * A disk with faults, for a program that is started with LD_PRELOAD. The faults apply to the files in the folder
 * DISK_FOLDER only. Each fault lasts while the file exists that its environment variable names:
 *
 * DISK_QUOTA     a write that makes a file longer fails with EDQUOT
 * DISK_SIZE      the disk has the size in this file, and only the files of the folder are on it: ENOSPC
 * DISK_HANG      every look at a file by its path hangs
 * DISK_SLOW      every write to a file other than the store and its log takes four milliseconds
 * DISK_NO_LINKS  a file gets no second name: EPERM
 * DISK_READ_ONLY no file can be opened to write: EROFS
 * DISK_LATE      the removal of a log returns after a second
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int has_fault(const char *variable) {
    const char *file = getenv(variable);
    return file && access(file, F_OK) == 0;
}

static int is_inside(const char *path) {
    const char *folder = getenv("DISK_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return is_inside(path);
}

static int is_of_store(const char *path) {
    const char *name = strrchr(path, '/');
    return name && (strcmp(name, "/outbox.db") == 0 || strcmp(name, "/outbox.db-wal") == 0);
}

/* Returns whether the disk has no space for more bytes. */
static int is_full(size_t count) {
    const char *name = getenv("DISK_SIZE"), *folder = getenv("DISK_FOLDER");
    FILE *file = name && folder ? fopen(name, "r") : NULL;
    long long left = 0;
    int has_size = file && fscanf(file, "%lld", &left) == 1;
    if (file)
        fclose(file);
    DIR *files = has_size ? opendir(folder) : NULL;
    if (!files)
        return 0;
    struct dirent64 *entry;
    struct stat64 found;
    while ((entry = readdir64(files)))
        if (fstatat64(dirfd(files), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode))
            left -= (long long)found.st_blocks * 512;
    closedir(files);
    return (long long)count > left;
}

/* Returns the error with which a write of the file must fail, or 0. */
static int refusal(int fd, size_t count, off64_t offset) {
    char path[4096];
    struct stat64 found;
    if (!path_of(fd, path, sizeof path))
        return 0;
    if (has_fault("DISK_SLOW") && !is_of_store(path))
        usleep(4000);
    if (fstat64(fd, &found) != 0 || offset + (off64_t)count <= found.st_size)
        return 0;
    if (has_fault("DISK_QUOTA"))
        return EDQUOT;
    return is_full(count) ? ENOSPC : 0;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    int before = errno;
    int refused = refusal(fd, count, lseek64(fd, 0, SEEK_CUR));
    errno = refused ? refused : before;
    if (refused)
        return -1;
    return REAL(write)(fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    int before = errno;
    int refused = refusal(fd, count, offset);
    errno = refused ? refused : before;
    if (refused)
        return -1;
    return REAL(pwrite64)(fd, bytes, count, offset);
}

static void look(const char *path) {
    int before = errno;
    while (is_inside(path) && has_fault("DISK_HANG"))
        usleep(10000);
    errno = before;
}

int stat64(const char *path, struct stat64 *found) {
    look(path);
    return REAL(stat64)(path, found);
}

int statx(int folder, const char *path, int flags, unsigned int mask, struct statx *found) {
    look(path);
    return REAL(statx)(folder, path, flags, mask, found);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    if (is_inside(to) && has_fault("DISK_NO_LINKS")) {
        errno = EPERM;
        return -1;
    }
    return REAL(linkat)(from_folder, from, to_folder, to, flags);
}

static int is_refused_to_write(const char *path, int flags) {
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) && is_inside(path) && has_fault("DISK_READ_ONLY");
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    if (is_refused_to_write(path, flags)) {
        errno = EROFS;
        return -1;
    }
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    if (is_refused_to_write(path, flags)) {
        errno = EROFS;
        return -1;
    }
    return REAL(open)(path, flags, mode);
}

int unlink(const char *path) {
    int result = REAL(unlink)(path);
    int before = errno;
    const char *name = strrchr(path, '/');
    if (is_inside(path) && name && strcmp(name, "/outbox.db-wal") == 0 && has_fault("DISK_LATE"))
        usleep(1200000);
    errno = before;
    return result;
}
