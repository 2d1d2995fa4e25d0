//! Named pipes, of which a test holds the other end. Where nobody ever opens one, the test fails instead of waiting.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fs_err as fs;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

/// How long the other end may take: much longer than anything does.
const PATIENCE: Duration = Duration::from_secs(120);

/// A named pipe.
#[derive(Debug)]
pub struct Pipe(PathBuf);

/// What is being read from a pipe, by a thread.
#[derive(Debug)]
pub struct Reading {
    pipe: PathBuf,
    bytes: Receiver<Vec<u8>>,
}

impl Pipe {
    /// Makes one.
    pub fn at(path: &Path) -> Self {
        nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
        Self(path.to_owned())
    }

    /// Begins to read to the end, once somebody writes.
    pub fn read(&self) -> Reading {
        let (sender, bytes) = channel();
        let pipe = self.0.clone();
        std::thread::spawn(move || sender.send(fs::read(pipe).unwrap()));
        Reading { pipe: self.0.clone(), bytes }
    }

    /// Opens it for writing, as soon as somebody reads.
    #[track_caller]
    pub fn writer(&self) -> fs::File {
        let end = Instant::now() + PATIENCE;
        loop {
            // Without waiting; there is an error as long as nobody reads.
            match open(&self.0, OFlag::O_WRONLY | OFlag::O_NONBLOCK, Mode::empty()) {
                Ok(file) => {
                    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
                    return fs::File::from_parts(file.into(), self.0.clone());
                }
                Err(Errno::ENXIO | Errno::EINTR) => {}
                Err(error) => panic!("{}: {error}", self.0.display()),
            }
            assert!(Instant::now() < end, "nobody reads {}", self.0.display());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Reading {
    /// What was written, when the writer has closed the pipe.
    #[track_caller]
    pub fn wait(self) -> Vec<u8> {
        let bytes = self.bytes.recv_timeout(PATIENCE);
        bytes.unwrap_or_else(|error| panic!("nobody writes {} to its end: {error}", self.pipe.display()))
    }
}
