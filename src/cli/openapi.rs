//! `irori openapi`: prints the HTTP contract.

pub(super) fn run() -> anyhow::Result<()> {
    print!("{}", crate::http::openapi_yaml()?);
    Ok(())
}
