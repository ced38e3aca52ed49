//! What a node costs that has nothing to do: memory, processor, wake-ups, bytes on the wire and on the disk.

use std::time::Duration;

use super::Setup;
use crate::bed::Bed;
use crate::clock::now;
use crate::error::BenchError;
use crate::proc::{self, Memory, Used};
use crate::relay::Passed;
use crate::table::{Row, progress};

/// Applications of the idle node.
const APPS: usize = 5;
/// Applications of the node whose writing is measured.
const MANY: usize = 20;

pub(super) fn idle(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let bed = Bed::start(&setup.data, "idle", &setup.baetyl)?;
    bed.deploy_sleepers(APPS)?;
    setup.wait("settling", 30, 120);
    let (core, init) = (bed.core_pid()?, bed.init_pid());
    let before = (Used::of(core)?, Used::of(init)?, now());
    setup.wait("idle", 60, 600);
    let minutes = now().saturating_sub(before.2).as_secs_f64() / 60.0;
    let (core_used, init_used) = (Used::of(core)?.since(before.0), Used::of(init)?.since(before.1));
    let mut rows = memory(&bed, core, init)?;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let wakes = |used: Used| used.wakes as f64 / minutes;
    rows.push(Row::new("idle core: processor time a minute", core_used.seconds / minutes, "s", 0.05));
    rows.push(
        Row::new("idle core: wake-ups a minute", wakes(core_used), "", 200.0)
            .note("voluntary context switches of its threads"),
    );
    rows.push(Row::info("idle init: processor time a minute", init_used.seconds / minutes, "s"));
    rows.push(Row::info("idle init: wake-ups a minute", wakes(init_used), ""));
    bed.stop()?;
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of memory")]
fn memory(bed: &Bed, core: i32, init: i32) -> Result<Vec<Row>, BenchError> {
    let mega = |kibi: u64| kibi as f64 * 1024.0 / 1e6;
    let (of_core, of_init) = (Memory::of(core)?, Memory::of(init)?);
    let pids = proc::supervisors(&bed.node());
    let supervisors = pids.iter().map(|pid| Memory::of(*pid)).collect::<Result<Vec<_>, _>>()?;
    let count = supervisors.len();
    let of_all: Memory = supervisors.iter().copied().sum();
    let note = |memory: Memory| format!("anonymous {:.2} MB", mega(memory.anonymous));
    let node = [of_core, of_init, of_all].into_iter().sum::<Memory>();
    Ok(vec![
        Row::new("idle core with 5 applications: PSS", mega(of_core.pss), "MB", 6.0).note(note(of_core)),
        Row::new(format!("with init and {count} supervisors: PSS"), mega(node.pss), "MB", 14.0)
            .note(format!("5 of applications, 1 of core; {}", note(node))),
        Row::info("of it init", mega(of_init.pss), "MB").note(note(of_init)),
        Row::info(format!("of it {count} supervisors"), mega(of_all.pss), "MB").note(note(of_all)),
    ])
}

pub(super) fn wire(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let mut bed = Bed::start(&setup.data, "wire", &setup.baetyl)?;
    bed.deploy_sleepers(APPS)?;
    setup.wait("settling", 30, 60);
    // Whole turns of the five minutes after which a node reports in any case.
    let (passed, time) = watch(&mut bed, setup.pick(300, 3600))?;
    let hours = time.as_secs_f64() / 3600.0;
    #[expect(clippy::cast_precision_loss, reason = "bytes of an hour")]
    let kilo = |bytes: usize| bytes as f64 / hours / 1e3;
    let rows = vec![
        Row::new("idle node with 5 applications: wire an hour", kilo(passed.all()), "kB", 60.0)
            .note(format!("core and init; {} new connections in the time", passed.connections)),
        Row::info("of it up, TLS included", kilo(passed.up), "kB"),
        Row::info("of it down, TLS included", kilo(passed.down), "kB"),
        Row::info("of it headers of TCP and IP", kilo(passed.headers), "kB").note("52 bytes a segment"),
    ];
    bed.stop()?;
    Ok(rows)
}

pub(super) fn durable(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let mut bed = Bed::start(&setup.data, "durable", &setup.baetyl)?;
    bed.deploy_sleepers(MANY)?;
    setup.wait("settling", 30, 60);
    let (core, init) = (bed.core_pid()?, bed.init_pid());
    let before = (Used::of(core)?, Used::of(init)?);
    let reports: u32 = setup.pick(1, 4);
    // A little more than the five minutes between reports.
    let (passed, _) = watch(&mut bed, u64::from(reports) * 300 + 10)?;
    let (core, init) = (Used::of(core)?.since(before.0), Used::of(init)?.since(before.1));
    #[expect(clippy::cast_precision_loss, reason = "few bytes")]
    let each = |used: Used| used.written as f64 / f64::from(reports);
    let rows = vec![
        Row::new("core with 20 applications: written per unchanged report", each(core), "B", 0.0)
            .note(format!("{reports} reports, {} bytes sent in the time", passed.up)),
        Row::new("init: written per unchanged report", each(init), "B", 0.0),
    ];
    bed.stop()?;
    Ok(rows)
}

/// What passes in so many seconds, looked at often enough to miss no connection.
fn watch(bed: &mut Bed, seconds: u64) -> Result<(Passed, Duration), BenchError> {
    progress(&format!("counting, {seconds} s"));
    let (before, start) = (bed.relay.passed()?, now());
    while now().saturating_sub(start) < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(2));
        bed.relay.passed()?;
    }
    Ok((bed.relay.passed()?.since(before), now().saturating_sub(start)))
}
