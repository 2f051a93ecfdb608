//! The web front end.

use std::process::ExitCode;

use cache_core::strategy::Strategy;
use examples::front_end::options::Options;
use examples::front_end::{App, server};
use examples::open::Opened;
use examples::stopping::asked_to_stop;
use examples::{command_line, logging};

#[tokio::main]
async fn main() -> ExitCode {
    logging::start();
    match run(command_line::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = logging::chain(&*error), "the front end ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let opened = Opened::open(&options.cache, Strategy::web_front_end()).await?;
    let app = App::new(&options, &opened).await?;
    let served = server::serve(app.router(), options.listen, &options.tls, asked_to_stop()).await;
    // However it ended: a refresh under way has spent a refresh token, and its reply is to be stored.
    drop(app);
    opened.close().await;
    Ok(served?)
}
