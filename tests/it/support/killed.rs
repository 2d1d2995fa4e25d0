//! Runs of `hod` that are killed at a system call, counted over all of their threads.
//!
//! `strace -f -e inject=CALLS:signal=KILL:when=N` does the same for a run with one thread: it counts each thread's calls
//! alone, and so does not come to every call of a run with many.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::hod::Hod;

/// The calls that change a name, or make changes durable.
const CALLS: [c_long; 13] = [
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
];
/// What a system call that is about to begin has as its result.
const BEGINS: u64 = (-(libc::ENOSYS as i64)).cast_unsigned();

/// How a run has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` where it was killed.
    pub code: Option<i32>,
    /// Standard error.
    pub stderr: String,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Traced {
    process: Pid,
    stdout: PathBuf,
    has_ended: AtomicBool,
}

impl Hod {
    /// Runs, and is killed in place of the call with that number, if it comes so far. `beside` is done meanwhile.
    pub fn killed_at(self, number: usize, beside: impl FnOnce(&Traced) + Send) -> Ended {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.home().join(name));
        // The shell waits until it is looked at.
        let mut command = self.command(&["sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"].map(OsStr::new));
        command.stdin(std::process::Stdio::null());
        command.stdout(fs::File::create(&stdout).unwrap().into_parts().0);
        command.stderr(fs::File::create(&stderr).unwrap().into_parts().0);
        let mut child = command.spawn().unwrap();
        let process = Pid::from_raw(child.id().try_into().unwrap());
        waitpid(process, Some(WaitPidFlag::WUNTRACED)).unwrap();
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        ptrace::seize(process, options).unwrap();
        kill(process, Signal::SIGCONT).unwrap();
        let traced = Traced { process, stdout, has_ended: AtomicBool::new(false) };
        let code = std::thread::scope(|scope| {
            scope.spawn(|| beside(&traced));
            let code = follow(process, number);
            traced.has_ended.store(true, Ordering::SeqCst);
            code
        });
        // Its end has been seen already.
        let _ = child.wait();
        Ended { code, stderr: fs::read_to_string(stderr).unwrap() }
    }
}

impl Traced {
    /// Waits until this is printed; gives all that was, or `None` where the run has ended without it.
    pub fn until_printed(&self, text: &str) -> Option<String> {
        loop {
            let has_ended = self.has_ended.load(Ordering::SeqCst);
            let printed = fs::read_to_string(&self.stdout).unwrap();
            if printed.contains(text) {
                return Some(printed);
            }
            if has_ended {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks the run to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        let _ = kill(self.process, Signal::SIGINT);
    }
}

/// Follows a process and its threads to its end, or to the call with that number; gives the exit code.
fn follow(process: Pid, number: usize) -> Option<i32> {
    let mut calls = 0;
    loop {
        // Processes of this thread alone: other tests have theirs.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let (thread, signal) = match waitpid(None, Some(flags)).unwrap() {
            WaitStatus::Exited(ended, code) if ended == process => return Some(code),
            WaitStatus::Signaled(ended, ..) if ended == process => return None,
            WaitStatus::PtraceSyscall(thread) => {
                let registers = ptrace::getregs(thread);
                calls += usize::from(
                    registers.is_ok_and(|it| it.rax == BEGINS && CALLS.contains(&it.orig_rax.cast_signed())),
                );
                if calls == number {
                    let _ = kill(process, Signal::SIGKILL);
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            _ => continue,
        };
        // A thread that was killed cannot go on.
        let _ = ptrace::syscall(thread, signal);
    }
}
