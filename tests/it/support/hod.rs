//! The built `hod`, run as a user would run it: own home, no variables, no terminal.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;
use tempfile::TempDir;

use super::schema;

/// A run of `hod` that is being prepared.
#[derive(Debug)]
pub struct Hod {
    arguments: Vec<std::ffi::OsString>,
    variables: Vec<(String, std::ffi::OsString)>,
    folder: Option<std::path::PathBuf>,
    input: Vec<u8>,
    home: TempDir,
}

/// What a run has left.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, which may be a bundle.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

/// `hod` with these arguments.
pub fn hod<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Hod {
    Hod {
        arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
        variables: Vec::new(),
        folder: None,
        input: Vec::new(),
        home: tempfile::tempdir().unwrap(),
    }
}

impl Hod {
    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in this folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Gives these bytes on standard input.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The run's home, empty at first: for configuration and credentials.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The command, as the last words of another one.
    pub(super) fn command(&self, wrapper: &[&OsStr]) -> Command {
        let mut words = wrapper.iter().copied().chain([OsStr::new(env!("CARGO_BIN_EXE_hod"))]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(&self.arguments).env_clear().env("HOME", self.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.as_deref().unwrap_or_else(|| self.home()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the run and returns at once.
    pub fn spawn(self) -> Running {
        let command = self.command(&[]);
        self.start(command)
    }

    fn start(self, mut command: Command) -> Running {
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = process.stdin.take().unwrap();
        let input = self.input;
        // A run that ends early reads no more; that is for its exit code to judge.
        std::thread::spawn(move || stdin.write_all(&input));
        let stdout = process.stdout.take().unwrap();
        let stderr = process.stderr.take().unwrap();
        Running {
            description: format!("{command:?}"),
            stdout: Captured::from(stdout),
            stderr: Captured::from(stderr),
            process,
            arguments: self.arguments,
            variables: self.variables,
            _home: self.home,
        }
    }

    /// Runs to the end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Runs to the end, which must be a good one.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.code(0)
    }

    /// Runs to the end, which must come with this exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Output {
        let arguments = self.arguments.clone();
        let output = self.run();
        assert_eq!(output.code, Some(code), "hod {arguments:?}\nstdout: {}\nstderr: {}", output.text(), output.stderr);
        output
    }

    /// Runs to the end by way of another command, which gets this one's words after its own, and between them the
    /// name of a file for its report. Returns that, too.
    pub fn by_way_of(self, words: &[&str]) -> (Output, String) {
        let report = self.home().join("report");
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).chain([report.as_os_str()]).collect();
        let command = self.command(&words);
        let mut running = self.start(command);
        let output = running.collect();
        (output, fs::read_to_string(&report).unwrap_or_default())
    }

    /// Runs to the end without what root may do to files of others and to its own that are closed to it.
    pub fn unprivileged(self) -> Output {
        if !nix::unistd::geteuid().is_root() {
            return self.run();
        }
        let words = ["sh", "-c", "shift; exec setpriv --inh-caps=-all --bounding-set=-all -- \"$@\"", "sh"];
        self.by_way_of(&words).0
    }

    /// Runs to the end and tells the most memory that it held, in bytes (GNU time's `%M`).
    pub fn measured(self) -> (Output, u64) {
        let (output, report) = self.by_way_of(&["/usr/bin/time", "--quiet", "--format=%M", "--output"]);
        let kilobytes: u64 = report.trim().parse().unwrap();
        (output, kilobytes * 1024)
    }
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

/// A run that goes on. It is killed when the value is dropped.
#[derive(Debug)]
pub struct Running {
    process: Child,
    description: String,
    arguments: Vec<std::ffi::OsString>,
    variables: Vec<(String, std::ffi::OsString)>,
    stdout: Captured,
    stderr: Captured,
    _home: TempDir,
}

impl Running {
    /// Ends the run at once, as a power cut would (SIGKILL), unless it has ended already.
    pub fn kill(mut self) -> Output {
        self.process.kill().unwrap();
        self.collect()
    }

    /// Asks the run to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        let status = Command::new("sh").args(["-c", "kill -INT $0", &self.process.id().to_string()]).status().unwrap();
        assert!(status.success(), "{} has ended already", self.description);
    }

    /// Waits until something is the case that this run brings about; stops the test where the run ends without it.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        while !is_so() {
            if self.process.try_wait().unwrap().is_some() && !is_so() {
                let output = self.collect();
                panic!("{} ended before {what}: {:?} {}", self.description, output.code, output.stderr);
            }
            assert!(Instant::now() < end, "{}: {what} does not come", self.description);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it has printed this on standard output.
    #[track_caller]
    pub fn until_printed(&mut self, text: &str) {
        let bytes = Arc::clone(&self.stdout.bytes);
        self.until(&format!("{text:?} is printed"), || String::from_utf8_lossy(&bytes.lock().unwrap()).contains(text));
    }

    /// What it has printed on standard output so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes.lock().unwrap()).into_owned()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Output {
        self.collect()
    }

    /// Waits for the end. A document that was printed must be as its schema has it.
    fn collect(&mut self) -> Output {
        let status = self.process.wait().unwrap();
        let output = Output {
            code: status.code(),
            stdout: self.stdout.all(),
            stderr: String::from_utf8_lossy(&self.stderr.all()).into_owned(),
        };
        schema::check(&self.arguments, &self.variables, &output.stdout);
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a stream has delivered, read all the time so that the run never waits.
#[derive(Debug)]
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Captured {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                shared.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    /// Everything, once the stream has ended.
    fn all(&mut self) -> Vec<u8> {
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::faulty::{Effect, Faulty, On, Route};
    use crate::support::images::{Content, image, layer};
    use crate::support::{fixtures, raw, tree};

    #[test]
    fn runs_the_binary_and_measures_it() {
        let (output, memory) = hod(["--version"]).measured();
        assert_eq!((output.code, output.text()), (Some(0), format!("hod {}\n", env!("CARGO_PKG_VERSION"))));
        assert!((100_000..1_000_000_000).contains(&memory), "{memory} bytes");
        assert!(hod(["no-such-command"]).code(2).stderr.contains("no-such-command"));
    }

    #[test]
    fn passes_input_variables_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let output = hod(["pull", "-f", "-", "--store", "s"]).in_folder(folder.path()).input("UPPER\n").code(2);
        assert!(output.stderr.contains("UPPER"), "{}", output.stderr);
        tree::copy(fixtures::root(), &folder.path().join("s"));
        let output = hod(["verify", "s"]).in_folder(folder.path()).env("HOD_JSON", "1").ok();
        assert!(output.json().is_object());
    }

    #[test]
    fn a_server_is_found_and_killed() {
        let root = fixtures::root().to_str().unwrap();
        let mut running = hod(["serve", root, "--listen", "127.0.0.1:0"]).spawn();
        running.until_printed("listening on http://");
        let printed = running.printed();
        assert_eq!(raw::get(printed.trim().rsplit('/').next().unwrap(), "/v2/").status, 200);
        assert_eq!(running.kill().code, None);
    }

    #[test]
    fn a_run_is_interrupted() {
        let content = Content::default().with("app:1", &image("linux/amd64", &[layer(1, 1000)]));
        let registry = Faulty::new(content).fault(On::any_blob(), Effect::Stall { after: 10 }).start();
        let running = hod(["pull", "app:1", "--from", registry.host(), "--store", "s"]).spawn();
        registry.wait_for(|seen| matches!(seen.route, Route::Blob(..)));
        running.interrupt();
        assert_eq!(running.wait().code, Some(130));
    }
}
