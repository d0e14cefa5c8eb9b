//! Goal: all memory that audio ever needs is resident before the first call: nothing waits for a
//! page in the middle of one. Method: the kernel's own count of resident memory, before and after;
//! one test in this process, so that nobody else's memory is counted.

mod gateway_support;

use std::fs;

use diglot::gateway::Gateway;
use diglot::realtime;
use diglot::topology::MediaMemory;
use gateway_support::config;

const RESERVED_BYTES: usize = 64 << 20;
const LEGS_MAX: usize = 1024;
const PAIRS: usize = 2;
/// Four tiles, link, log and control.
const GATEWAY_THREADS: usize = 7;

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// What is not resident of mappings that look like a thread's stack: private, writable, of nobody's
/// file, and as long as the standard library makes them.
fn absent_stack_bytes() -> usize {
    const STACK_KIB: usize = 2 << 10;
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut kib = [0; 2];
    let (mut absent, mut stacks) = (0, 0);
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields[..] {
            ["Size:", size, _] => kib[0] = size.parse().unwrap(),
            ["Rss:", rss, _] => {
                kib[1] = rss.parse().unwrap();
                if (STACK_KIB..STACK_KIB + 64).contains(&kib[0]) {
                    stacks += 1;
                    absent += kib[0] - kib[1];
                }
            }
            _ => {}
        }
    }
    assert!(stacks >= GATEWAY_THREADS, "{stacks} stacks found:\n{maps}");
    absent << 10
}

#[test]
fn reserved_memory_is_resident_from_the_start() {
    // Touching alone, for where locking is refused.
    let reserved: Vec<u8> = Vec::with_capacity(RESERVED_BYTES);
    let before = resident_bytes();
    realtime::touch_memory().unwrap();
    let grown = resident_bytes() - before;
    assert!(
        grown >= RESERVED_BYTES / 8 * 7,
        "{grown} bytes of {} became resident",
        reserved.capacity()
    );
    drop(reserved);

    let settings = [
        ("realtime.legs_max", "1024"),
        ("realtime.tile_pairs", "2"),
        ("realtime.priority", "0"),
    ];
    let before = resident_bytes();
    let gateway = Gateway::start(&config(&settings)).unwrap();
    let grown = resident_bytes() - before;
    let needed = MediaMemory::of(LEGS_MAX, PAIRS).bytes();
    assert!(grown >= needed, "{grown} bytes of {needed} became resident");
    let absent = absent_stack_bytes();
    assert_eq!(absent, 0, "of the gateway's threads' stacks");
    gateway.stop();
}
