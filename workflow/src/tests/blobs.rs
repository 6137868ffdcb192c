//! Texts that are too large for a message.

use proptest::prelude::*;
use swarm_protocol::blob::{self, BlobRef};
use swarm_protocol::limits::{BEGINNING_CHARS, MAX_ENCODED, MAX_INLINE, MAX_RUN_MESSAGE};
use swarm_protocol::{Answer, RunResult};

use super::*;
use crate::test_support::run_id;
use crate::{Source, texts_for};

/// The live attempt of a task ends with a text; a worker has stored one that is too large.
fn answered(run: &mut Driver, task: &str, text: &str) {
    let task: TaskId = task.parse().unwrap();
    let agent = run.state().agent_of(&task).unwrap().clone();
    let mut answer = answer(&task, &agent, AnswerStatus::Completed);
    answer.text = Some(text.to_owned());
    if text.len() > MAX_INLINE {
        let blob = BlobRef::of(text.as_bytes(), blob::TEXT);
        run.there.insert(blob.sha256.clone(), text.to_owned());
        answer.text = Some(blob::beginning(text));
        answer.blob = Some(blob);
    }
    let input = Input::TaskEnded {
        task: &task,
        attempt: 1,
        answer: &answer,
    };
    assert!(run.input(input, message(9)));
}

/// The whole text, wherever it is.
fn whole(run: &Driver, text: &str, blob: Option<&BlobRef>) -> String {
    let Some(blob) = blob else {
        return text.to_owned();
    };
    assert!(text.ends_with('…'), "{text:?}");
    let mut stored = run.stored.iter();
    let stored = stored.find(|known| known.blob.sha256 == blob.sha256);
    let text = match stored.map(|stored| &stored.from) {
        Some(Source::Here(text)) => text.clone(),
        Some(Source::Run(_)) | None => run.there[&blob.sha256].clone(),
    };
    assert!(blob.is_of(text.as_bytes()));
    text
}

fn whole_answer(run: &Driver, answer: &Answer) -> String {
    whole(
        run,
        answer.text.as_deref().unwrap_or_default(),
        answer.blob.as_ref(),
    )
}

fn fits(run: &Driver) {
    let event = serde_json::to_vec(run.log.last().unwrap()).unwrap();
    assert!(event.len() < usize::try_from(MAX_RUN_MESSAGE).unwrap() - 8 * 1024);
}

/// Each blob that a text is in is named in the list, once.
fn names_each(result: &RunResult) {
    let answers = result
        .answers
        .iter()
        .filter_map(|answer| answer.blob.as_ref());
    for blob in answers.chain(&result.blob) {
        let named = result
            .refs
            .iter()
            .filter(|known| known.sha256 == blob.sha256);
        assert_eq!(named.count(), 1);
    }
}

fn text(size: usize, of: &str) -> String {
    of.repeat(size / of.len() + 1)
}

#[test]
fn a_large_context_is_stored_before_the_run_begins() {
    let context = text(300_000, "c ");
    let run = Driver::new(Submission {
        context: Some(context.clone()),
        ..Submission::of_task("t")
    });
    let accepted = run.state().accepted().unwrap();
    let blob = BlobRef::of(context.as_bytes(), blob::TEXT);
    assert_eq!(accepted.submission, Submission::of_task("t"));
    assert_eq!(accepted.context_ref, Some(blob.clone()));
    let stored = Blob {
        blob: blob.clone(),
        from: Source::Here(context),
    };
    assert_eq!(run.stored, [stored]);
    assert!(run.state().bytes < 10, "a log counts what is in it");
    let task = AGENTS[0].parse().unwrap();
    let work = work_for(run.state(), &task, 1, &Contents::new()).unwrap();
    assert_eq!((work.context, work.context_ref), (None, Some(blob)));
}

#[test]
fn a_context_that_fits_stays() {
    let run = Driver::new(Submission {
        context: Some(text(100_000, "c")),
        ..Submission::of_task("t")
    });
    assert_eq!(run.stored, []);
    assert_eq!(run.state().accepted().unwrap().context_ref, None);
}

#[test]
fn large_answers_are_put_together_whole() {
    let texts: Vec<String> = AGENTS.iter().map(|agent| text(200_000, agent)).collect();
    for (aggregate, expected) in [
        (
            Aggregate::Concat,
            format!(
                "## {}\n\n{}\n\n## {}\n\n{}\n\n## {}\n\n{}",
                AGENTS[0], texts[0], AGENTS[1], texts[1], AGENTS[2], texts[2]
            ),
        ),
        (Aggregate::Vote, texts[0].clone()),
        (Aggregate::First, texts[0].clone()),
    ] {
        let mut run = Driver::new(aggregated(aggregate));
        answered(&mut run, AGENTS[0], &texts[0]);
        if aggregate == Aggregate::First {
            run.end(AGENTS[1], AnswerStatus::Canceled);
            run.end(AGENTS[2], AnswerStatus::Canceled);
        } else {
            answered(&mut run, AGENTS[1], &texts[1]);
            answered(&mut run, AGENTS[2], &texts[2]);
        }
        let result = run.result();
        assert_eq!(run.phase(), RunState::Completed, "{aggregate:?}");
        assert_eq!(whole(&run, &result.text, result.blob.as_ref()), expected);
        assert!(result.text.chars().count() <= BEGINNING_CHARS + 1);
        names_each(result);
        fits(&run);
    }
}

#[test]
fn an_object_of_large_answers_is_a_blob() {
    let mut run = Driver::new(aggregated(Aggregate::Json));
    for agent in AGENTS {
        answered(&mut run, agent, &format!("[{}1]", text(150_000, "1,")));
    }
    let result = run.result();
    assert_eq!((run.phase(), &result.data), (RunState::Completed, &None));
    let object = whole(&run, &result.text, result.blob.as_ref());
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert!(object[AGENTS[2]].is_array());
    fits(&run);
}

#[test]
fn small_answers_that_are_too_large_together_become_blobs() {
    let mut run = Driver::new(aggregated(Aggregate::Concat));
    for agent in AGENTS {
        answered(&mut run, agent, &text(120_000, agent));
    }
    let result = run.result();
    assert_eq!(run.phase(), RunState::Completed);
    assert!(!result.refs.is_empty());
    for (answer, agent) in result.answers.iter().zip(AGENTS) {
        assert_eq!(whole_answer(&run, answer), text(120_000, agent));
    }
    names_each(result);
    fits(&run);
}

#[test]
fn a_lost_answer_fails_the_run_by_name() {
    let mut run = Driver::new(aggregated(Aggregate::Concat));
    answered(&mut run, AGENTS[0], &text(200_000, "a"));
    run.there.clear();
    run.end(AGENTS[1], AnswerStatus::Completed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    let result = run.result();
    assert_eq!(run.phase(), RunState::Failed);
    assert_eq!(result.reason.as_ref().unwrap().code, "SW-BLOB-MISSING");
    assert!(result.text.contains("text of creative_agent"));
}

#[test]
fn answers_of_more_than_is_put_together_fail_the_run_by_name() {
    let mut run = Driver::new(aggregated(Aggregate::Concat));
    for agent in AGENTS {
        answered(&mut run, agent, &text(12 * 1024 * 1024, agent));
    }
    let result = run.result();
    assert_eq!(run.phase(), RunState::Failed);
    assert_eq!(result.reason.as_ref().unwrap().code, "SW-TOO-LARGE");
    assert_eq!(result.refs.len(), 3);
}

#[test]
fn the_summarizer_gets_whole_texts_as_far_as_there_is_room() {
    let mut run = Driver::new(aggregated(Aggregate::Summarize));
    let text = text(MAX_INLINE + 1, "a");
    answered(&mut run, AGENTS[0], &text);
    run.end(AGENTS[1], AnswerStatus::Completed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    let task = "aggregate".parse().unwrap();
    let wanted = texts_for(run.state(), &task);
    assert_eq!(wanted, [BlobRef::of(text.as_bytes(), blob::TEXT)]);
    let known = Contents::from([(wanted[0].sha256.clone(), Ok(text.clone()))]);
    let work = |contents| work_for(run.state(), &task, 1, contents).unwrap().input;
    assert!(work(&known).contains(&text));
    let cut = work(&Contents::new());
    assert!(cut.contains("(cut: the answer is too large)") && cut.len() < 2000);
}

#[test]
fn a_repetition_takes_blobs_over() {
    let context = text(300_000, "c");
    let mut old = Driver::new(Submission {
        context: Some(context.clone()),
        ..Submission::of_task("t")
    });
    answered(&mut old, AGENTS[0], &text(200_000, "a"));
    old.end(AGENTS[1], AnswerStatus::Failed);
    old.end(AGENTS[2], AnswerStatus::Failed);
    let mut new = Driver::default();
    assert!(new.command("retry", Input::Repeat(old.state())));
    let accepted = new.state().accepted().unwrap();
    assert_eq!(
        accepted.context_ref,
        old.state().accepted().unwrap().context_ref
    );
    let copied: Vec<Source> = new.stored.iter().map(|blob| blob.from.clone()).collect();
    assert_eq!(copied, [Source::Run(run_id()), Source::Run(run_id())]);
    assert_eq!(new.state().live().count(), 2);
}

#[test]
fn a_repetition_begins_with_what_fits() {
    let mut canceled = Driver::new(aggregated(Aggregate::Concat));
    for agent in [AGENTS[0], AGENTS[1]] {
        answered(&mut canceled, agent, &text(MAX_ENCODED / 8, "\u{1}"));
    }
    canceled.command("cancel", Input::Cancel { reason: None });
    canceled.end(AGENTS[2], AnswerStatus::Canceled);
    let mut new = Driver::default();
    assert!(new.command("retry", Input::Repeat(canceled.state())));
    fits(&new);
    let accepted = new.state().accepted().unwrap();
    assert_eq!(accepted.taken_over.len(), 2);
    for answer in &accepted.taken_over {
        assert_eq!(
            whole_answer(&new, answer),
            text(MAX_ENCODED / 8, "\u{1}"),
            "whole"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_texts_fit_and_are_whole(
        sizes in prop::collection::vec(prop_oneof![0usize..2000, 0usize..200_000, 0usize..600_000], 1..12),
        of in prop_oneof![Just("a"), Just("ä"), Just("\u{1}"), Just("\"\n")],
        aggregate in prop::sample::select(vec![Aggregate::Concat, Aggregate::Vote, Aggregate::Json]),
    ) {
        let mut run = Driver::new(Submission {
            agents: Some(vec!["research_agent".parse().unwrap(); sizes.len()]),
            aggregate: Some(aggregate),
            ..Submission::of_task("t")
        });
        let tasks: Vec<TaskId> = run.state().live().map(|(task, _)| task.clone()).collect();
        for (n, (task, size)) in tasks.iter().zip(&sizes).enumerate() {
            answered(&mut run, task.as_str(), &format!("{n}{}", text(*size, of)));
        }
        let result = run.result();
        prop_assert_eq!(run.phase(), RunState::Completed);
        fits(&run);
        names_each(result);
        for (n, (answer, size)) in result.answers.iter().zip(&sizes).enumerate() {
            prop_assert_eq!(whole_answer(&run, answer), format!("{n}{}", text(*size, of)));
        }
        whole(&run, &result.text, result.blob.as_ref());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// So many that not even their beginnings fit: one blob has them all.
    #[test]
    fn any_number_of_answers_fits(count in 600usize..990, size in 600usize..40_000) {
        let agent = "a".repeat(60);
        let mut submit = submit(Submission {
            agents: Some(vec![agent.parse().unwrap(); count]),
            aggregate: Some(Aggregate::Concat),
            ..Submission::of_task("t")
        });
        submit.reply = None;
        let mut team = team();
        team.known.insert(agent.parse().unwrap());
        let mut run = Driver::default();
        run.input(Input::Submit(&submit, &team), message(1));
        let tasks: Vec<TaskId> = run.state().live().map(|(task, _)| task.clone()).collect();
        // All but the last are done: each event folds the whole run.
        let state = run.state.as_mut().unwrap();
        for task in state.tasks.iter_mut().take(count - 1) {
            let mut answer = answer(&task.id, &agent.parse().unwrap(), AnswerStatus::Completed);
            answer.text = Some(text(size, "word "));
            task.progress = Progress::Ended(Box::new(answer));
        }
        answered(&mut run, tasks[count - 1].as_str(), "last");
        let result = run.result();
        prop_assert_eq!(run.phase(), RunState::Completed);
        fits(&run);
        prop_assert_eq!(result.answers.len(), count);
        let all = result.refs.iter().rfind(|blob| blob.media_type == blob::ANSWERS);
        let all = all.map(|all| run.stored.iter().find(|stored| stored.blob == *all).unwrap());
        if let Some(Source::Here(all)) = all.map(|all| &all.from) {
            let all: Vec<Answer> = serde_json::from_str(all).unwrap();
            let whole: Vec<String> = all.iter().map(|answer| whole_answer(&run, answer)).collect();
            prop_assert!(whole.iter().take(count - 1).all(|whole| *whole == text(size, "word ")));
        } else {
            names_each(result);
        }
    }
}
