//! A run of hod under ptrace: its system calls are counted, and at one of them it is killed or told of an error.
//!
//! `strace` counts the calls of each thread by itself, so no number of its means one moment of the whole run.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{Call, entered};

/// Output that is kept of a run.
const OUTPUT: usize = 4 << 20;

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: calls are not even looked at.
    Free,
    /// Calls are noted.
    Watched,
    /// SIGKILL in place of the call of this number.
    Killed(usize),
    /// The call of this number fails with one of the errors of its kind. A `lasting` one that is about room for bytes
    /// comes again at each later call of the kind.
    Failed { number: usize, choice: usize, lasting: bool },
}

/// A run that is being prepared.
#[derive(Debug)]
pub struct Run {
    words: Vec<OsString>,
    folder: PathBuf,
    input: Vec<u8>,
    fate: Fate,
    limit: Duration,
}

/// What a run has left.
#[derive(Debug, Default)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Whether it took so long that it was killed.
    pub hung: bool,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// The calls that change something, or may fail.
    pub calls: Vec<Call>,
    /// The call at which it was killed, or which failed.
    pub struck: Option<Call>,
    /// The most memory that it held, in bytes.
    pub memory: u64,
}

impl Run {
    /// `hod` with these words, in this folder, which is its home, too.
    pub fn new<S: AsRef<str>>(folder: &Path, words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().into()).collect();
        let limit = Duration::from_secs(60);
        Self { words, folder: folder.to_owned(), input: Vec::new(), fate: Fate::Free, limit }
    }

    /// What is to happen to it.
    pub fn fate(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }

    /// How long it may take.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// What it reads.
    pub fn input(self, input: impl Into<Vec<u8>>) -> Self {
        Self { input: input.into(), ..self }
    }

    /// Runs to the end.
    pub fn end(self) -> Ended {
        self.end_while(|_, _| {})
    }

    /// Runs to the end; `beside` is called at the start on a thread with the process and what it prints.
    pub fn end_while(self, beside: impl FnOnce(Pid, &Printed) + Send) -> Ended {
        // The shell waits until it is traced, and becomes hod. A process group is what `waitpid` can wait for.
        #[expect(clippy::zombie_processes, reason = "the tracer waits for all of the group")]
        let mut process = Command::new("sh")
            .args(["-c", "read begin; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hod")])
            .args(&self.words)
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let leader = Pid::from_raw(i32::try_from(process.id()).unwrap());
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACEEXIT
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(leader, options).unwrap();
        let (stdout, stderr) =
            (Printed::of(process.stdout.take().unwrap()), Printed::of(process.stderr.take().unwrap()));
        let mut stdin = process.stdin.take().unwrap();
        let input = [b"\n", self.input.as_slice()].concat();
        // A run that ends early reads no more.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let mut tracer = Tracer { leader, fate: self.fate, folder: self.folder, ended: Ended::default() };
        let (over, wait) = channel();
        let limit = self.limit;
        std::thread::scope(|scope| {
            let guard = scope.spawn(move || {
                let hung = wait.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                if hung {
                    let _ = kill(leader, Signal::SIGKILL);
                }
                hung
            });
            let printed = stdout.clone();
            scope.spawn(move || beside(leader, &printed));
            tracer.follow(&over);
            tracer.ended.hung = guard.join().unwrap();
        });
        let _ = writer.join();
        let mut ended = tracer.ended;
        ended.stdout = stdout.all();
        ended.stderr = String::from_utf8_lossy(&stderr.all()).into_owned();
        ended
    }
}

impl Ended {
    /// What is wrong with the way in which it ended, whatever it was to do.
    pub fn check(&self) -> Result<(), String> {
        let panicked = self.stderr.contains("panicked at") || self.code == Some(101);
        if self.hung {
            return Err(format!("it hangs\n{}", self.printed()));
        }
        if panicked {
            return Err(format!("it panics\n{}", self.printed()));
        }
        match self.code {
            Some(0..=5 | 130) => Ok(()),
            code => Err(format!("it ends with {code:?}\n{}", self.printed())),
        }
    }

    /// The same, where it must end well.
    pub fn good(self) -> Result<Self, String> {
        self.check()?;
        if self.code == Some(0) { Ok(self) } else { Err(format!("it ends with {:?}\n{}", self.code, self.printed())) }
    }

    fn printed(&self) -> String {
        let stdout: String = String::from_utf8_lossy(&self.stdout).chars().take(2000).collect();
        format!("{stdout}{}", self.stderr)
    }
}

struct Tracer {
    leader: Pid,
    fate: Fate,
    folder: PathBuf,
    ended: Ended,
}

impl Tracer {
    /// Follows all threads and children until none is left.
    fn follow(&mut self, over: &Sender<()>) {
        let mut failing = Vec::new();
        let all = Pid::from_raw(-self.leader.as_raw());
        loop {
            let (thread, signal) = match waitpid(all, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(thread, code)) => {
                    if thread == self.leader {
                        self.ended.code = Some(code);
                    }
                    continue;
                }
                Ok(WaitStatus::Stopped(thread, signal)) => (thread, Some(signal)),
                Ok(WaitStatus::PtraceEvent(thread, _, event)) => {
                    if event == libc::PTRACE_EVENT_EXIT && thread == self.leader {
                        self.ended.memory = most_memory(thread);
                    }
                    (thread, None)
                }
                Ok(WaitStatus::PtraceSyscall(thread)) => {
                    self.syscall(thread, &mut failing);
                    (thread, None)
                }
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => break,
                Err(error) => panic!("waitpid: {error}"),
            };
            // A thread that was killed meanwhile is gone.
            let _ =
                if self.fate == Fate::Free { ptrace::cont(thread, signal) } else { ptrace::syscall(thread, signal) };
        }
        let _ = over.send(());
    }

    /// A thread is about to make a call, or has made it.
    fn syscall(&mut self, thread: Pid, failing: &mut Vec<(Pid, Errno)>) {
        if let Some(position) = failing.iter().position(|(known, _)| *known == thread) {
            let (_, error) = failing.swap_remove(position);
            if let Ok(mut registers) = ptrace::getregs(thread) {
                registers.rax = (-i64::from(error as i32)).cast_unsigned();
                let _ = ptrace::setregs(thread, registers);
            }
            return;
        }
        let Ok(info) = ptrace::syscall_info(thread) else { return };
        let Some(mut call) = entered(thread, &info, &self.folder) else { return };
        let number = self.ended.calls.len();
        call.number = number;
        match self.fate {
            Fate::Killed(at) if at == number => {
                self.ended.struck = Some(call.clone());
                let _ = kill(self.leader, Signal::SIGKILL);
            }
            Fate::Failed { number: at, choice, lasting }
                if at == number || lasting && self.ended.struck.as_ref().is_some_and(|it| it.kind == call.kind) =>
            {
                let error = call.kind.errors()[choice % call.kind.errors().len()];
                if at != number && error != Errno::ENOSPC {
                    self.ended.calls.push(call);
                    return;
                }
                call.error = Some(error);
                if let Ok(mut registers) = ptrace::getregs(thread) {
                    registers.orig_rax = u64::MAX;
                    let _ = ptrace::setregs(thread, registers);
                    failing.push((thread, error));
                    self.ended.struck.get_or_insert_with(|| call.clone());
                }
            }
            _ => {}
        }
        self.ended.calls.push(call);
    }
}

/// `VmHWM` in bytes, which the exit code of `time` cannot tell of a run that is traced.
fn most_memory(process: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}

/// What a stream has delivered so far; it is read all the time, so that the run never waits.
#[derive(Debug, Clone)]
pub struct Printed {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Printed {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                let mut bytes = shared.lock().unwrap();
                let room = OUTPUT.saturating_sub(bytes.len()).min(length);
                bytes.extend_from_slice(&chunk[..room]);
            }
        });
        Self { bytes, reader: Arc::new(Mutex::new(Some(reader))) }
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn all(&self) -> Vec<u8> {
        if let Some(reader) = self.reader.lock().unwrap().take() {
            reader.join().unwrap();
        }
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}
