//! `irori openapi`: prints the HTTP contract.

use super::output::print;

pub(super) fn run() -> anyhow::Result<()> {
    print(crate::http::openapi_yaml()?.trim_end())
}
