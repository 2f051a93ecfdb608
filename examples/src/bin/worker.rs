//! The worker.

use std::io::Write;
use std::process::ExitCode;

use cache_core::strategy::Strategy;
use cache_core::time::{Clock, SystemClock};
use examples::open::Opened;
use examples::stopping::asked_to_stop;
use examples::worker::Worker;
use examples::worker::options::Options;
use examples::{command_line, logging};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> ExitCode {
    logging::start();
    match run(command_line::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = logging::chain(&*error), "the worker ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let opened = Opened::open(&options.cache, Strategy::background_worker()).await?;
    let (stopping, mut stop) = watch::channel(false);
    tokio::spawn(async move {
        asked_to_stop().await;
        let _ = stopping.send(true);
    });
    let worker = Worker::new(&options, &opened);
    let ended = loop {
        let passed = worker.pass(&stop, say).await;
        match &passed {
            Ok(pass) => tracing::info!(
                called = pass.called,
                not_called = pass.not_called,
                "one pass is done"
            ),
            Err(error) => tracing::error!(error = logging::chain(error), "a pass failed"),
        }
        if options.once {
            break passed.map(drop);
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break Ok(()),
            () = SystemClock.sleep(options.interval) => {}
        }
    };
    drop(worker);
    opened.close().await;
    Ok(ended?)
}

/// One line of JSON, on standard output. That nobody reads it any more is no reason to leave the users alone.
fn say(line: String) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
