//! tour
use super::ui::Ui;
pub fn run(_keep: bool, _ui: &Ui) -> anyhow::Result<()> {
    Ok(())
}
