//! The whole bridge, measured against native replication of the same servers in the same run.
//!
//! Every work is done twice a run, by `REPLICAOF` and by keyferry, on servers of its own, and ends
//! with a comparison of source and destination: a figure of a wrong result is never printed.
//! `./bench` at the root installs what is needed, builds, and calls this.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::carrier::Carrier;
use crate::machine::Machine;
use crate::report::Report;
use crate::scale::Scale;
use crate::works::{Bench, Journal, Work};

mod carrier;
mod equality;
mod figure;
mod kafka;
mod load;
mod machine;
mod pace;
mod report;
mod scale;
mod stage;
mod usage;
mod works;

/// keyferry against native replication: ratios within one run, CPU seconds, memory.
#[derive(Debug, Parser)]
#[command(name = "keyferry-bench", version)]
struct Options {
    /// How often everything is measured; the table shows the best and the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// A tenth of the keys and shorter waits: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Only this work; may be said several times
    #[arg(long, value_enum, value_name = "WORK")]
    only: Vec<Work>,
    /// Where keyferry's journal is; on Kafka there are other works and targets, and a broker beside
    #[arg(long, value_enum, default_value_t = Journal::Local)]
    journal: Journal,
    /// Only by this carrier, as for a profiler; then there are no ratios
    #[arg(long, value_enum)]
    carrier: Option<Carrier>,
    /// Write every figure of every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The keyferry binary; the one beside this program unless another is named
    #[arg(long, value_name = "PATH")]
    keyferry: Option<PathBuf>,
}

#[expect(clippy::print_stderr, reason = "the one place where a failure is told")]
fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyferry-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let keyferry = match &options.keyferry {
        Some(named) => named.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("keyferry"),
    };
    let scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    let all = Work::all(options.journal);
    let works = if options.only.is_empty() { all.to_vec() } else { options.only.clone() };
    if let Some(other) = works.iter().find(|work| !all.contains(work)) {
        bail!("{} is not measured with this journal", other.title());
    }
    let carriers = options.carrier.map_or(Carrier::BOTH.to_vec(), |one| vec![one]);
    let mut report = Report::new(Machine::read()?, &scale, options.runs);
    for run in 1..=options.runs {
        // Who goes first changes with every run: what a machine does over time hits both.
        let mut order = carriers.clone();
        if run % 2 == 0 {
            order.reverse();
        }
        let mut bench = Bench::new(&keyferry, &scale, order, options.journal)?;
        for work in &works {
            report.say(&format!("run {run} of {}: {}", options.runs, work.title()))?;
            let measured = bench.run(*work).with_context(|| work.title())?;
            report.add(measured);
        }
        report.add(bench.memory());
    }
    report.finish()?;
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(())
}
