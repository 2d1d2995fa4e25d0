//! A process that writes to a root is killed, again and again; the root is sound each time, and at the
//! end everything is there.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use hod_store::Store;

use super::{Content, assert_sound, image, layer, noise, unfinished, write};

/// Where the writing process finds its root.
const ROOT: &str = "HOD_TEST_KILLED_ROOT";
const IMAGES: u64 = 60;

fn nth(number: u64) -> Content {
    let size = if number.is_multiple_of(3) { 1_200_000 } else { 20_000 };
    image("amd64", &[layer(noise(number + 1, size)), layer(noise(number % 5 + 1000, 50_000))])
}

/// The writing process: this test, run by the next one. By itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn writer() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let store = Store::create(root.as_ref()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..IMAGES {
        let store = store.clone();
        tasks.spawn(async move {
            write(&store, &format!("app{}", number % 4), &[&format!("v{number}")], &nth(number)).await.unwrap();
            number
        });
        if tasks.len() >= 4 {
            println!("\nwritten {}", tasks.join_next().await.unwrap().unwrap());
        }
    }
    tasks.join_all().await;
}

#[test]
#[ignore = "takes long"]
fn a_kill_at_any_moment_leaves_a_sound_root() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..12_usize {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "store::kill::writer", "--nocapture"]).env(ROOT, root.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Later rounds find more in place and come further.
        lines.map_while(Result::ok).filter(|line| line.starts_with("written")).nth(round * 5);
        process.kill().unwrap();
        process.wait().unwrap();
        assert_sound(root.path());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = Store::create(root.path()).unwrap();
    for number in 0..IMAGES {
        let name = format!("app{}", number % 4);
        runtime.block_on(write(&store, &name, &[&format!("v{number}")], &nth(number))).unwrap();
        assert_eq!(
            store.tag(&name.parse().unwrap(), &format!("v{number}").parse().unwrap()).unwrap(),
            Some(nth(number).digest())
        );
    }
    drop(store);
    assert_sound(root.path());
    assert_eq!(unfinished(root.path()), Vec::<String>::new());
}
