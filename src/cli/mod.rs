//! The command line: what can be typed, with the consequence of each flag.
//!
//! A file per command; this one only says which there are. Every flag can also be given as an
//! environment variable, `IRORI_` and its name, which the help shows; a flag on the command line
//! wins.

mod bench;
mod doors;
mod evaluate;
mod export;
mod health;
mod import;
mod models;
mod openapi;
mod options;
#[cfg(feature = "otlp")]
mod otlp;
mod output;
mod predict;
mod progress;
mod serve;
mod summary;
mod train;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use output::tell;

/// A hearth for Burn models: define, train, evaluate and serve image classifiers.
#[derive(Parser)]
#[command(name = "irori", version, max_term_width = 100)]
pub struct Cli {
    /// How much is logged to stderr: error, warn, info, debug, trace, or a filter such as
    /// `irori=debug,tower_http=info`; without it info for serve, and warn for the other commands.
    #[arg(long, global = true)]
    log: Option<String>,
    /// How it is logged: for people, or a JSON object a line for machines.
    #[arg(long, global = true, default_value = "text")]
    log_format: LogFormat,
    /// Where traces go: an OpenTelemetry collector that takes OTLP over HTTP, such as
    /// http://127.0.0.1:4318. Without it nothing is exported.
    #[cfg(feature = "otlp")]
    #[arg(long, global = true, value_name = "URL")]
    otlp_endpoint: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the models of a folder over HTTP.
    Serve(Box<serve::Args>),
    /// Train a network on labelled images and publish it as a new version of a model.
    Train(train::Args),
    /// Count a model's predictions against labelled images.
    Evaluate(evaluate::Args),
    /// Say what image files show.
    Predict(predict::Args),
    /// Print the layers, output shapes and parameters of an architecture or a model, as Keras does.
    Summary(summary::Args),
    /// List the models of a folder and their versions; promote, roll back, delete.
    Models(models::Args),
    /// Publish a Keras file (.h5, .keras, .json with weights) as a new version of a model.
    Import(import::Args),
    /// Write a version of a model as a Keras file.
    Export(export::Args),
    /// Time predictions or training steps of a network on this machine.
    Bench(bench::Args),
    /// Ask a running server whether it is ready; exits with 0 if it is, for container health checks.
    Health(health::Args),
    /// Print the HTTP contract, openapi.yaml.
    Openapi,
}

/// Reads the command line; ends the process where it asks for help or can't be understood.
pub fn parse() -> Cli {
    let matches = with_variables(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Lets every flag also be given as `IRORI_…`.
fn with_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|flag| match flag.get_long() {
            Some(name) => {
                let name = name.to_uppercase().replace('-', "_");
                flag.env(format!("IRORI_{name}"))
            }
            None => flag,
        })
        .mut_subcommands(with_variables)
}

/// Runs the command that was typed.
///
/// # Errors
///
/// What went wrong, for the user's eyes.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let _logging = start_logging(&cli)?;
    match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Summary(args) => summary::run(args),
        Command::Models(args) => models::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Health(args) => health::run(args),
        Command::Openapi => openapi::run(),
    }
}

/// Begins to log, and to export if that was asked for, until what this returns is dropped.
fn start_logging(cli: &Cli) -> anyhow::Result<impl Sized + use<>> {
    use std::io::IsTerminal;

    use anyhow::Context;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    use tracing_subscriber::{EnvFilter, Layer, fmt};

    let log = match (&cli.log, &cli.command) {
        (Some(log), _) => log,
        (None, Command::Serve(_)) => "info",
        (None, _) => "warn",
    };
    let filter = EnvFilter::try_new(log).with_context(|| {
        format!("--log {log}: expected error, warn, info, debug, trace or a filter")
    })?;
    let lines = fmt::layer()
        // They would go where the lines could not.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = match cli.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(feature = "otlp")]
    {
        let endpoint = cli.otlp_endpoint.as_deref();
        let exporter = endpoint.map(otlp::Exporter::new).transpose()?;
        let layer = exporter.as_ref().map(otlp::Exporter::layer);
        subscriber.with(layer).init();
        Ok(exporter)
    }
    #[cfg(not(feature = "otlp"))]
    {
        subscriber.init();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent_and_every_flag_has_its_variable() {
        let mut command = with_variables(Cli::command());
        command.build();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands_mut() {
            let help = subcommand.render_long_help().to_string();
            let flags: Vec<String> = subcommand
                .get_arguments()
                .filter(|flag| !["help", "version_flag"].contains(&flag.get_id().as_str()))
                .filter_map(|flag| flag.get_long().map(str::to_owned))
                .collect();
            for flag in flags {
                let variable = format!("IRORI_{}", flag.to_uppercase().replace('-', "_"));
                assert!(
                    help.contains(&variable),
                    "{}: --{flag}",
                    subcommand.get_name()
                );
            }
        }
    }
}
