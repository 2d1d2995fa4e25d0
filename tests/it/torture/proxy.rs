//! A line that changes what a registry answers: bits, lost pieces, pieces that come twice.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Dice;
use super::damage::change;

/// A proxy that runs until the value is dropped.
#[derive(Debug)]
pub struct Proxy {
    host: String,
    over: Arc<AtomicBool>,
    said: Arc<Mutex<String>>,
}

impl Proxy {
    /// Before this host.
    pub fn before(host: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (over, said) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(String::new())));
        let (upstream, stop, says) = (host.to_owned(), Arc::clone(&over), Arc::clone(&said));
        std::thread::spawn(move || {
            for (number, client) in (0_u64..).zip(listener.incoming()) {
                let Ok(client) = client else { break };
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(server) = TcpStream::connect(&upstream) else { break };
                let (ask, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(ask, asked, |_| true));
                let (mut dice, says) = (Dice::new(seed ^ number << 32), Arc::clone(&says));
                std::thread::spawn(move || {
                    pass(server, client, |chunk| {
                        if !dice.chance(6) {
                            return true;
                        }
                        let how = change(chunk, &mut dice);
                        says.lock().unwrap().extend(["on the way: ", &how, "\n"]);
                        // Else what is missing is waited for.
                        dice.chance(4)
                    });
                });
            }
        });
        Self { host: own, over, said }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it has done.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The listener looks when the next client comes.
        let _ = TcpStream::connect(&self.host);
    }
}

/// Passes on what comes, as changed, for as long as that is wanted.
fn pass(mut from: TcpStream, mut to: TcpStream, mut changed: impl FnMut(&mut Vec<u8>) -> bool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let mut chunk = bytes[..length].to_vec();
        let goes_on = changed(&mut chunk);
        if to.write_all(&chunk).is_err() || !goes_on {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
