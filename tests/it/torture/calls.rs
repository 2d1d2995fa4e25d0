//! System calls that change files, or that read them and may fail; calls on anything but the scene's files do not count.

use std::fmt;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// A call of a run.
#[derive(Debug, Clone)]
pub struct Call {
    /// How many came before it.
    pub number: usize,
    /// What it does.
    pub kind: Kind,
    /// The file, as far as the call names it.
    pub path: String,
    /// The error that it was given.
    pub error: Option<Errno>,
}

/// What a call does; the first are the most telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `rename`, `link`, `symlink`
    Name,
    /// `unlink`, `rmdir`
    Remove,
    /// `mkdir`
    Folder,
    /// `fsync`, `fdatasync`, `syncfs`
    Sync,
    /// `open` with `O_CREAT`
    Create,
    /// `copy_file_range`, `FICLONE`, `sendfile`
    Copy,
    /// `fallocate`, `ftruncate`
    Allocate,
    /// `write` and its siblings
    Write,
    /// Owner, mode, times, attributes
    Describe,
    /// `open` without `O_CREAT`
    Open,
    /// `getdents`
    List,
    /// `read` and its siblings
    Read,
    /// `stat` and its siblings
    Look,
}

impl Kind {
    /// Whether it changes anything on the disk, so that a kill before it and one after it are not the same.
    pub fn changes(self) -> bool {
        self < Self::Open
    }

    /// How it may fail.
    pub fn errors(self) -> &'static [Errno] {
        match self {
            Self::Remove | Self::Describe | Self::List | Self::Look => &[Errno::EIO, Errno::EACCES],
            Self::Name | Self::Folder => &[Errno::ENOSPC, Errno::EIO, Errno::EACCES],
            Self::Sync => &[Errno::EIO, Errno::ENOSPC],
            Self::Create => &[Errno::ENOSPC, Errno::EMFILE, Errno::EACCES, Errno::EIO, Errno::EINTR],
            Self::Copy | Self::Allocate | Self::Write => &[Errno::ENOSPC, Errno::EIO, Errno::EINTR],
            Self::Open => &[Errno::EMFILE, Errno::EACCES, Errno::EIO, Errno::EINTR],
            Self::Read => &[Errno::EIO, Errno::EINTR],
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}: {:?} {}", self.number, self.kind, self.path)?;
        self.error.map_or(Ok(()), |error| write!(f, " with {error:?}"))
    }
}

/// Where the file of a call stands among its arguments.
enum At {
    /// A descriptor.
    Descriptor(usize),
    /// A path.
    Path(usize),
    /// A path below the folder of a descriptor.
    Below(usize, usize),
}

/// The call that a thread is about to make, where it is one that counts.
pub fn entered(thread: Pid, info: &libc::ptrace_syscall_info, folder: &Path) -> Option<Call> {
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // What it holds is what the kernel said of the entry.
    let registers = nix::sys::ptrace::getregs(thread).ok()?;
    let number = i64::try_from(registers.orig_rax).ok()?;
    let arguments = [registers.rdi, registers.rsi, registers.rdx, registers.r10];
    let creates =
        |flags: u64| if flags & u64::from(libc::O_CREAT.cast_unsigned()) == 0 { Kind::Open } else { Kind::Create };
    let (kind, at) = match number {
        libc::SYS_rename | libc::SYS_link | libc::SYS_symlink => (Kind::Name, At::Path(1)),
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => (Kind::Name, At::Below(2, 3)),
        libc::SYS_symlinkat => (Kind::Name, At::Below(1, 2)),
        libc::SYS_unlink | libc::SYS_rmdir => (Kind::Remove, At::Path(0)),
        libc::SYS_unlinkat => (Kind::Remove, At::Below(0, 1)),
        libc::SYS_mkdir => (Kind::Folder, At::Path(0)),
        libc::SYS_mkdirat | libc::SYS_mknodat => (Kind::Folder, At::Below(0, 1)),
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs => (Kind::Sync, At::Descriptor(0)),
        libc::SYS_open => (creates(arguments[1]), At::Path(0)),
        libc::SYS_openat => (creates(arguments[2]), At::Below(0, 1)),
        libc::SYS_openat2 => (creates(word(thread, arguments[2])?), At::Below(0, 1)),
        libc::SYS_copy_file_range => (Kind::Copy, At::Descriptor(2)),
        libc::SYS_sendfile => (Kind::Copy, At::Descriptor(0)),
        libc::SYS_ioctl if arguments[1] == FICLONE => (Kind::Copy, At::Descriptor(0)),
        libc::SYS_fallocate | libc::SYS_ftruncate => (Kind::Allocate, At::Descriptor(0)),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => {
            (Kind::Write, At::Descriptor(0))
        }
        libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr => (Kind::Describe, At::Descriptor(0)),
        libc::SYS_chmod | libc::SYS_chown | libc::SYS_lchown | libc::SYS_setxattr | libc::SYS_lsetxattr => {
            (Kind::Describe, At::Path(0))
        }
        libc::SYS_utimensat if arguments[1] == 0 => (Kind::Describe, At::Descriptor(0)),
        libc::SYS_utimensat | libc::SYS_fchmodat | libc::SYS_fchownat => (Kind::Describe, At::Below(0, 1)),
        libc::SYS_getdents64 => (Kind::List, At::Descriptor(0)),
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => {
            (Kind::Read, At::Descriptor(0))
        }
        libc::SYS_fstat => (Kind::Look, At::Descriptor(0)),
        libc::SYS_stat | libc::SYS_lstat | libc::SYS_readlink => (Kind::Look, At::Path(0)),
        libc::SYS_statx | libc::SYS_newfstatat | libc::SYS_readlinkat => (Kind::Look, At::Below(0, 1)),
        _ => return None,
    };
    let path = match at {
        At::Descriptor(position) => descriptor(thread, arguments[position])?,
        At::Path(position) => folder.join(text(thread, arguments[position])?),
        At::Below(place, position) => {
            let name = text(thread, arguments[position])?;
            let above = if number_of(arguments[place]) == libc::AT_FDCWD {
                folder.to_owned()
            } else {
                descriptor(thread, arguments[place])?
            };
            above.join(name)
        }
    };
    let path = path.strip_prefix(folder).ok()?.display().to_string();
    Some(Call { number: 0, kind, path, error: None })
}

const FICLONE: u64 = 0x4004_9409;

/// Of a register that holds a descriptor, the lower half counts.
fn number_of(register: u64) -> i32 {
    let [a, b, c, d, ..] = register.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn descriptor(thread: Pid, number: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/fd/{}", number_of(number))).ok()
}

fn memory(thread: Pid, address: u64, bytes: &mut [u8]) -> Option<usize> {
    std::fs::OpenOptions::new().read(true).open(format!("/proc/{thread}/mem")).ok()?.read_at(bytes, address).ok()
}

fn word(thread: Pid, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory(thread, address, &mut bytes).filter(|length| *length == 8)?;
    Some(u64::from_le_bytes(bytes))
}

/// A path, which may end at the end of what is mapped.
fn text(thread: Pid, address: u64) -> Option<String> {
    let mut bytes = [0; 512];
    let to_end = |length: u64| length - address % length;
    let length = usize::try_from(to_end(4096)).ok()?.min(bytes.len());
    let mut known = memory(thread, address, &mut bytes[..length])?;
    if !bytes[..known].contains(&0) && known < bytes.len() {
        known += memory(thread, address + known as u64, &mut bytes[known..]).unwrap_or(0);
    }
    let end = bytes[..known].iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}
