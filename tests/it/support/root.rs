//! What only root may do, and tests leave out for everybody else.

/// Whether this is root; where it is not, says what this test leaves out.
pub fn is_root_for(left_out: &str) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        let test = std::thread::current();
        eprintln!("skipped in {}: {left_out}: only root can do that", test.name().unwrap_or_default());
    }
    is_root
}
