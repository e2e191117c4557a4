//! Timestamps: their text, their range and the texts and numbers outside it.

use core::time::Duration;

use jiff::{Timestamp as Reference, fmt::temporal::DateTimeParser};
use keyway::{
    Timestamp,
    time::{Clock, ManualClock, SystemClock},
};

fn millis(text: &str) -> Option<i64> {
    text.parse().ok().map(Timestamp::as_millis)
}

#[test]
fn a_time_is_written_as_rfc_3339_in_utc() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (1_795_339_800_120, "2026-11-22T09:30:00.12Z"),
    ] {
        assert_eq!(Timestamp::from_millis(millis).unwrap().to_string(), text);
    }
}

/// jiff is an independent reader and writer of RFC 3339. Its range ends a day before the year 9999 does.
#[test]
fn text_is_the_one_that_jiff_writes_and_reads() {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    let days = (first..last - 86_400_000).step_by(37 * 86_399_877).map(|millis| (millis, "Z", 0));
    let offsets = [("+23:59", 1_439), ("-23:59", -1_439), ("-00:00", 0), ("+05:30", 330)];
    let offsets = offsets.map(|(text, minutes)| (951_868_799_987, text, minutes * 60_000));
    for (millis, offset, ahead) in days.chain(offsets) {
        let reference = Reference::from_millisecond(millis).unwrap();
        let text = Timestamp::from_millis(millis).unwrap().to_string();
        assert_eq!(text, reference.to_string());
        let local = text.replace('Z', offset);
        let read = DateTimeParser::new().parse_timestamp(&local).unwrap();
        assert_eq!(read.as_millisecond(), millis - ahead);
        assert_eq!(local.parse(), Ok(Timestamp::from_millis(millis - ahead).unwrap()), "{local}");
    }
}

#[test]
fn leap_second_is_read_as_the_second_before_it() {
    assert_eq!(millis("1990-12-31T23:59:60Z"), millis("1990-12-31T23:59:59Z"));
    assert_eq!(millis("1990-12-31T15:59:60-08:00"), millis("1990-12-31T23:59:59Z"));
    assert_eq!(millis("1990-12-31T23:59:61Z"), None);
}

#[test]
fn both_ends_of_the_range_have_a_text_that_reads_back() {
    for (end, text) in
        [(Timestamp::MIN, "0001-01-01T00:00:00Z"), (Timestamp::MAX, "9999-12-31T23:59:59.999Z")]
    {
        assert_eq!(end.to_string(), text);
        assert_eq!(text.parse(), Ok(end));
    }
}

#[test]
fn offset_is_converted_to_utc() {
    assert_eq!(millis("1970-01-01T01:30:00+01:30"), Some(0));
    assert_eq!(millis("1969-12-31T22:30:00-01:30"), Some(0));
    assert_eq!(millis("1970-01-01t00:00:00z"), Some(0));
    assert_eq!(millis("1970-01-01 00:00:00Z"), Some(0));
    assert_ne!(millis("1970-01-01T01:30:00Z"), Some(0));
}

#[test]
fn digits_below_a_millisecond_are_dropped() {
    assert_eq!(millis("1970-01-01T00:00:00.0019999Z"), Some(1));
    assert_eq!(millis("1969-12-31T23:59:59.9999Z"), Some(-1));
}

#[test]
fn text_without_time_and_offset_is_an_error() {
    for text in [
        "",
        "now",
        "0",
        "2026-11-22",
        "09:30:00Z",
        "2026-11-22T09:30:00",
        "2026-11-22T09:30:00 ",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T09:30:00+99:00",
        "2026-11-22T09:30:00+24:00",
        "2026-11-22T09:30:00+00:60",
        "2026-11-22T09:30:00+0100",
        "2026-11-22T09:30:00+01",
        "2026-11-22T09:30:00Z[UTC]",
        "2026-11-22T09:30:00ZZ",
        "2026-11-22T09:30:00.Z",
        "2026-11-22T09:30:00,5Z",
        "2026-11-22T09:30Z",
        "2026-11-22T09:60:00Z",
        "2026-11-22_09:30:00Z",
        "2026-00-22T09:30:00Z",
        "2026-11-00T09:30:00Z",
        "2026-11-31T09:30:00Z",
        "20261122T093000Z",
        "2026-11-22T09:30:0\u{661}Z",
        "2026-11-22T+9:30:00Z",
        "253402300799999ms",
    ] {
        assert_eq!(millis(text), None, "{text:?}");
    }
}

#[test]
fn time_outside_the_years_1_to_9999_is_an_error() {
    for text in [
        "0000-12-31T23:59:59.9999Z",
        "0001-01-01T00:00:00+00:01",
        "-000001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999-00:01",
        "10000-01-01T00:00:00Z",
    ] {
        assert_eq!(millis(text), None, "{text:?}");
    }
    assert!(millis("0001-01-01T00:00:00-00:01").is_some());
    assert!(millis("9999-12-31T23:59:59.999+00:01").is_some());
}

#[test]
fn timestamp_error_shows_an_example() {
    let error = "tomorrow".parse::<Timestamp>().unwrap_err();
    assert!(error.to_string().contains("2026-11-22T09:30:00Z"), "{error}");
}

#[test]
fn milliseconds_beyond_the_range_are_none() {
    let (first, last) = (Timestamp::MIN.as_millis(), Timestamp::MAX.as_millis());
    assert_eq!(Timestamp::from_millis(first), Some(Timestamp::MIN));
    assert_eq!(Timestamp::from_millis(last), Some(Timestamp::MAX));
    for millis in [first - 1, last + 1, i64::MIN, i64::MAX] {
        assert_eq!(Timestamp::from_millis(millis), None, "{millis}");
    }
}

#[test]
fn saturation_gives_the_nearest_end() {
    assert_eq!(Timestamp::saturating_from_millis(i64::MIN), Timestamp::MIN);
    assert_eq!(Timestamp::saturating_from_millis(i64::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::saturating_from_millis(-5).as_millis(), -5);
}

#[test]
fn sum_past_the_end_is_none() {
    let last = Timestamp::MAX;
    assert_eq!(last.checked_add(Duration::from_millis(1)), None);
    assert_eq!(last.checked_add(Duration::MAX), None);
    assert_eq!(last.checked_add(Duration::from_micros(999)), Some(last));
    let whole = Duration::from_millis(last.as_millis().abs_diff(Timestamp::MIN.as_millis()));
    assert_eq!(Timestamp::MIN.checked_add(whole), Some(last));
}

#[test]
fn difference_before_the_beginning_is_the_beginning() {
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    let whole = last.saturating_since(first);
    let milli = Duration::from_millis(1);
    assert_eq!(last.saturating_sub(whole), first);
    assert_eq!(last.saturating_sub(whole - milli), first.checked_add(milli).unwrap());
    for long in [whole + milli, Duration::MAX] {
        assert_eq!(last.saturating_sub(long), first);
    }
    assert_eq!(last.saturating_sub(Duration::from_micros(999)), last);
}

#[test]
fn the_time_since_something_later_is_zero() {
    let (zero, one) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
    let (zero, one) = (zero.unwrap(), one.unwrap());
    assert_eq!(one.saturating_since(zero), Duration::from_millis(1));
    assert_eq!(zero.saturating_since(one), Duration::ZERO);
}

#[test]
fn times_are_ordered_as_they_pass() {
    let texts = [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
    ];
    assert!(texts.map(|text| text.parse::<Timestamp>().unwrap()).is_sorted());
}

#[test]
fn manual_clock_changes_only_when_advanced() {
    let clock = ManualClock::at(Timestamp::MIN);
    assert_eq!(clock.moment(), clock.moment());
    clock.advance(Duration::from_millis(7));
    let moment = clock.moment();
    assert_eq!(moment.now.as_millis(), Timestamp::MIN.as_millis() + 7);
    assert_eq!(moment.uptime, 7);
}

#[test]
fn setting_a_manual_clock_back_leaves_its_uptime() {
    let clock = ManualClock::at(Timestamp::MAX);
    clock.advance(Duration::from_secs(1));
    clock.set(Timestamp::MIN);
    assert_eq!(clock.moment().now, Timestamp::MIN);
    assert_eq!(clock.moment().uptime, 1_000);
}

#[test]
fn manual_clock_shows_both_times_of_one_moment() {
    let clock = ManualClock::at(Timestamp::from_millis(0).unwrap());
    let reader = std::thread::spawn({
        let clock = clock.clone();
        move || {
            let moments = std::iter::repeat_with(|| clock.moment());
            let mut seen = moments.take_while(|moment| moment.uptime < 200_000_000);
            seen.all(|moment| moment.now.as_millis().cast_unsigned() == moment.uptime)
        }
    });
    for _ in 0..200_000 {
        clock.advance(Duration::from_secs(1));
    }
    assert!(reader.join().unwrap(), "one of the times was read without the other");
}

#[test]
fn the_system_clock_agrees_with_the_standard_library() {
    let clock = SystemClock.moment().now.as_millis();
    let std = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(i64::try_from(std).unwrap().abs_diff(clock) < 10_000);
}

#[test]
fn timestamp_is_its_text_in_json() {
    let json = serde_json::to_string(&Timestamp::MAX).unwrap();
    assert_eq!(json, r#""9999-12-31T23:59:59.999Z""#);
    assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), Timestamp::MAX);
    assert!(serde_json::from_str::<Timestamp>("0").is_err());
}
