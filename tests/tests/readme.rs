//! The README says what the code does.

use weir_dataplane::config::Config;
use weir_dataplane::verdict::DropReason;

#[test]
fn every_drop_reason_is_explained() {
    let readme = weir_tests::repository().join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    for reason in DropReason::ALL {
        let row = format!("| `{}` | {} |", reason.name(), reason.why());
        assert!(readme.contains(&row), "README.md lacks this row of the table of reasons:\n{row}");
    }
}

#[test]
fn every_configuration_in_configs_is_accepted() {
    let folder = weir_tests::repository().join("configs");
    let mut loaded = 0;
    for entry in std::fs::read_dir(folder).expect("configs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "{loaded} configurations found");
}
