//! The actions of administrators on keys, as four services document them: one test for each action.
//!
//! Where a service shows or copies a stored key, this one shows it once, when it is made, and regenerates it
//! afterwards: a key that can be shown again can be stolen again. Where only a name has to be entered, this
//! one asks for an expiry too. Everything else is as described, and the list below says where.

mod changing;
mod creating;
mod finding;
mod limits;

/// Help pages of MachineMetrics on API keys.
const HELP: &str = "MachineMetrics help: API keys";
/// The guide for MachineMetrics' developers, of which there are two copies.
const GUIDE: &str = "MachineMetrics developers: authentication";
/// The manual of an IoT platform.
const MANUAL: &str = "IoT platform: API key management";
/// The manual of System73's Edge Service Platform.
const ESP: &str = "System73: API integrations";

/// Document, sentence, test.
const LIST: &[(&str, &str, &str)] = &[
    (
        HELP,
        "click the Create API Key button … select the options … click Save Changes",
        "a_key_is_created_and_opens_what_was_chosen",
    ),
    (
        HELP,
        "This dialog is the only time MachineMetrics will display your API Access Token",
        "nothing_of_the_token_is_left_when_the_dialog_closes",
    ),
    (
        HELP,
        "Click the Done button … display the name of your API Key and the date it was created",
        "a_key_is_created_and_opens_what_was_chosen",
    ),
    (
        HELP,
        "you can select any combination of the following options",
        "every_scope_is_offered_in_any_combination",
    ),
    (
        HELP,
        "operator: Full control of \"operator-level\" functionality",
        "choosing_operator_shows_what_it_includes",
    ),
    (
        HELP,
        "click on the key, change the option selections … click Save Changes",
        "scopes_change_at_any_time_and_at_once",
    ),
    (
        HELP,
        "click the Delete button. Click the You Sure? button",
        "a_key_is_deleted_by_its_name_and_ends_at_once",
    ),
    (HELP, "Reach out to Support", "the_quota_is_shown_and_what_to_do_when_it_is_full"),
    (
        GUIDE,
        "each API Key grants access rights for the company … where the key was created",
        "the_keys_of_a_company_are_its_own",
    ),
    (
        GUIDE,
        "Name the key something relevant to the task",
        "a_key_without_a_name_is_refused_at_the_field",
    ),
    (
        GUIDE,
        "Choose the appropriate scopes … Copy your API Key from the screen provided",
        "a_new_key_is_copied_and_found_by_pasting_it",
    ),
    (
        GUIDE,
        "API Keys should only be granted the permissions necessary",
        "nothing_is_chosen_at_first",
    ),
    (
        GUIDE,
        "you can adjust granted scopes for that API Key at any time",
        "scopes_change_at_any_time_and_at_once",
    ),
    (
        GUIDE,
        "It is recommended that each use case you create has a separate API Key",
        "separate_keys_are_switched_off_separately",
    ),
    (
        GUIDE,
        "Do delete API Keys when you're done with them",
        "a_key_is_deleted_by_its_name_and_ends_at_once",
    ),
    (
        GUIDE,
        "that key may be temporarily or permanently disabled",
        "what_the_service_suspends_is_shown_and_stays",
    ),
    (
        GUIDE,
        "curl -H \"Authorization: Bearer API-KEY\"",
        "the_command_beside_the_key_has_it_in_its_place",
    ),
    (
        MANUAL,
        "Generate API Key … Enter the required details … Save",
        "a_key_is_created_and_opens_what_was_chosen",
    ),
    (
        MANUAL,
        "cards showing: API Key Name, Generated API Key, Current Status, Available Actions",
        "a_card_shows_what_there_is_to_know",
    ),
    (
        MANUAL,
        "Disabling an API Key immediately blocks access",
        "the_switch_counts_from_the_next_request_on",
    ),
    // Once, in the dialog of a new key.
    (
        MANUAL,
        "Click the Copy icon. The key is copied to your clipboard",
        "a_new_key_is_copied_and_found_by_pasting_it",
    ),
    (
        MANUAL,
        "Click the Edit icon … The changes are applied immediately",
        "scopes_change_at_any_time_and_at_once",
    ),
    (
        MANUAL,
        "After regeneration, applications using the previous key must be updated",
        "the_old_secret_works_until_the_new_one_is_used",
    ),
    (
        MANUAL,
        "If an API Key is compromised … Click the Regenerate option",
        "a_leaked_secret_ends_at_once",
    ),
    (
        MANUAL,
        "Confirm the deletion. The API Key will no longer be available",
        "a_key_is_deleted_by_its_name_and_ends_at_once",
    ),
    (
        MANUAL,
        "API Key Name. Search results are filtered automatically as you type",
        "keys_are_found_while_typing",
    ),
    (MANUAL, "API Key Value", "a_new_key_is_copied_and_found_by_pasting_it"),
    (
        ESP,
        "Every platform entity must have at least one API token … created automatically",
        "a_new_company_has_its_first_key",
    ),
    (
        ESP,
        "the list of all the API Tokens associated into your entity",
        "a_card_shows_what_there_is_to_know",
    ),
    (ESP, "You only must write the name of the API token", "nothing_is_chosen_at_first"),
    (
        ESP,
        "change the name, expiration date or status of the API token",
        "name_expiry_and_status_are_edited",
    ),
    (
        ESP,
        "click on Remove button … confirm the action",
        "a_key_is_deleted_by_its_name_and_ends_at_once",
    ),
    // A stored key is never shown again. A lost key is regenerated.
    (
        ESP,
        "click the Eye button … a dialog will be shown with the API token",
        "the_old_secret_works_until_the_new_one_is_used",
    ),
    (
        ESP,
        "click on Copy button, after that the API token will be copied",
        "a_new_key_is_copied_and_found_by_pasting_it",
    ),
    (ESP, "Lite 1, Advanced 5", "the_quota_is_shown_and_what_to_do_when_it_is_full"),
    (
        ESP,
        "If you need more API Tokens or a change of the Analytics tier, please contact",
        "the_quota_is_shown_and_what_to_do_when_it_is_full",
    ),
    (
        ESP,
        "The Analytics tier … can be edited in the Edit form after the creation",
        "a_change_of_tier_says_what_narrows_and_does_it",
    ),
];

#[test]
fn every_test_of_the_list_is_there() {
    let sources = [
        include_str!("seeds/changing.rs"),
        include_str!("seeds/creating.rs"),
        include_str!("seeds/finding.rs"),
        include_str!("seeds/limits.rs"),
        include_str!("one_time.rs"),
        include_str!("operator.rs"),
    ]
    .concat();
    let is_there = |test: &str| sources.contains(&format!("#[test]\nfn {test}()"));
    for (document, sentence, test) in LIST {
        assert!(is_there(test), "{document}: {sentence}: {test}");
    }
    assert!(!is_there("no_such_test"));
}
