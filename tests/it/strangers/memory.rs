//! Codes that were mailed are not in the memory of the process any more.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
};

use crate::{
    crash::World,
    harness::{eventually, in_time, program::Program, settings::SECRET},
};

/// Codes that may be left on stacks and in buffers that are still in use.
const LEFT: usize = 5;

/// Everything in the memory of a process that is of no file; `None` where that must not be read.
fn memory(pid: u32) -> Option<Vec<Vec<u8>>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut parts = Vec::new();
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let named =
            fields.get(5).is_some_and(|name| name.starts_with('/') || name.starts_with("[v"));
        if named || !fields[1].starts_with('r') {
            continue;
        }
        let (low, high) = fields[0].split_once('-').expect("a range");
        let [low, high] = [low, high].map(|end| u64::from_str_radix(end, 16).expect("a number"));
        let mut part = vec![0; usize::try_from(high - low).expect("fits")];
        memory.seek(SeekFrom::Start(low)).ok()?;
        // A part may be unmapped meanwhile.
        if memory.read_exact(&mut part).is_ok() {
            parts.push(part);
        }
    }
    Some(parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn mailed_codes_are_wiped() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let mut codes = Vec::new();
    for n in 0..40 {
        let mut made = world.workos.make_code(&format!("p{n}@example.com"));
        // Unlike anything else in memory.
        made.code = format!("Zq{n:02}MEMORY{n:03}");
        world.workos.change_code(&made.id, &made.code);
        assert!(world.post(&program, &made).await);
        codes.push(made.code);
    }
    in_time("the mails", world.inbox.reached(40)).await;
    eventually("all are settled", async || {
        (program.exposition().await.outcomes("sent") == 40).then_some(())
    })
    .await;
    // Another process's memory is root's alone to read: then this shows only that it is refused.
    if let Some(parts) = memory(program.pid()) {
        let contains = |code: &String| {
            parts.iter().any(|part| memchr::memmem::find(part, code.as_bytes()).is_some())
        };
        let left: Vec<_> = codes.iter().filter(|code| contains(code)).collect();
        assert!(left.len() <= LEFT, "{left:?}");
        let key = SECRET.as_bytes();
        assert!(
            parts.iter().any(|part| memchr::memmem::find(part, key).is_some()),
            "a secret in use would be found"
        );
    }
    program.stop().await;
}
