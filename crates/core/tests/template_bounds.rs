//! Templates made to eat memory, time or stack: none gets more than a template may have.
//!
//! This is a test binary of its own because it counts what is allocated.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are free of the bans")]
#![expect(unsafe_code, reason = "an allocator that counts can only be made with it; it passes everything on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};
use unknot_core::template::{Context, Renderer, TaskFacts, Template};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// More than any template below may hold at once, its context included.
const PEAK_MAX: usize = 16 * 1024 * 1024;
/// Far above what any takes even in a slow build on a busy machine.
const TIME_MAX: Duration = Duration::from_millis(500);
/// A small stack, as the thread of the brain might have used most of its own.
const STACK: usize = 512 * 1024;

fn bombs() -> Vec<String> {
    let big = "y".repeat(3_900);
    let nest =
        |open: &str, close: &str, depth: usize| format!("{{{{ {}1{} }}}}", open.repeat(depth), close.repeat(depth));
    let chain = |link: &str, times: usize| format!("{{{{ input{} }}}}", link.repeat(times));
    let mut bombs: Vec<String> = [
        "{{ 'x' * 1000000000 }}",
        "{{ 'x' * 60000 * 60000 }}",
        "{{ ('x' * 60000) ~ ('x' * 60000) ~ ('x' * 60000) }}",
        "{{ [1] * 1000000000 }}",
        "{{ ([1] * 90000) | join('xxxxxxxxxxxxxxxxxxxx') }}",
        "{{ ([1] * 10000 * 10000) | length }}",
        "{{ ([input.list] * 99) == ([input.list] * 99) }}",
        "{{ [[[[1]*99]*99]*99]*99 == 1 }}",
        "{{ (input.list * 1000) | sort }}",
        "{{ (input.list * 1000) | unique | length }}",
        "{{ input.list | join(input.text) }}",
        "{{ input.text | replace('x', input.text) }}",
        "{{ input.text | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') }}",
        "{{ input.text | split('x') | join('xxxx') | split('x') | join('xxxx') }}",
        "{{ 2 ** 999999 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ -(9999999999999999999999999999999999999999) }}",
        "{{ 1e308 * 10 }}",
        "{{ range(100000000) }}",
        "{{ 'x' | upper | center(1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ input.deep }}",
        "{{ input.deep == input.deep }}",
        "{{ [input.deep, input.deep] | json | json | json | json | json | json }}",
        "{{ input.text in input.text }}",
        "{{ (input.text ~ 'y') in input.text }}",
        "{{ input.list[::-1] | sort | sort | sort | sort | sort }}",
        "{{ input.text[::-1][::-1][::-1] }}",
        "{{ tasks.huge.output }}",
        "{{ tasks.huge.output | json }}",
        "{{ tasks.huge.output == tasks.huge.output }}",
        "{{ tasks.huge.output | sort }}",
        "{{ tasks.huge.output | join(tasks.huge.output | first) }}",
        "{{ tasks.huge.output + tasks.huge.output + tasks.huge.output == tasks.huge.output + tasks.huge.output }}",
        "{{ 'é' * 100000 | upper }}",
    ]
    .map(str::to_owned)
    .into();
    bombs.extend([
        nest("(", ")", 24),
        nest("[", "]", 24),
        nest("{'a': ", "}", 24),
        nest("(", ")", 1_900),
        nest("not ", "", 240),
        nest("not ", "", 1_000),
        nest("- ", "", 240),
        nest("1 + ", "", 120),
        nest("'a' ~ ", "", 120),
        nest("1 if 1 else ", "", 60),
        nest("2 ** ", "", 120),
        nest("input.list + ", "", 60),
        chain(".a", 120),
        chain(".a", 1_900),
        chain("[0]", 80),
        chain(" | string", 120),
        chain(" | default(input", 24) + &")".repeat(24),
        format!("{{{{ '{big}' }}}}{big}"),
        format!("{{{{ '{big}' * 16 }}}}"),
        "{{ input.list }}".repeat(250),
        "{{ 'x' * 60000 }}".repeat(200),
    ]);
    bombs
}

/// Runs one source through everything, and gives what it took.
fn measure(source: &str, context: &Context<'_>) -> (usize, Duration) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    // Whether they give a result is not the question here, only what that costs.
    drop(Template::parse(source));
    drop(Template::parse_condition(source.trim_start_matches("{{ ").trim_end_matches(" }}")));
    let text = Renderer::new(*context).text(source);
    drop(Renderer::new(*context).condition(source.trim_start_matches("{{ ").trim_end_matches(" }}")));
    let took = start.elapsed();
    assert!(text.map_or(0, |text| text.len()) <= unknot_core::template::RESULT_MAX, "{source}");
    (PEAK.load(Relaxed) - before, took)
}

#[test]
fn no_template_eats_memory_time_or_stack() {
    let list: Vec<String> = (0..1_000).map(|number| format!("{:050}", number % 7)).collect();
    let input = serde_json::json!({"text": "x".repeat(50_000), "list": list}).to_string();
    let input = format!("{},\"deep\":{}1{}}}", &input[..input.len() - 1], "[".repeat(100), "]".repeat(100));
    let huge = serde_json::to_string(&vec!["z".repeat(1_000); 1_000]).expect("JSON");
    let worst = std::thread::scope(|scope| {
        let run = || {
            let labels = BTreeMap::new();
            let task = |_: &str| Some(TaskFacts { status: "COMPLETED", output: Some(&huge), error: None });
            let context = Context { input: &input, task: &task, run_id: "run_01", labels: &labels, item: None };
            let bombs = bombs();
            // Set up once, not counted.
            drop(Renderer::new(context).text("{{ run.id }}"));
            let mut worst = (0, Duration::ZERO);
            for bomb in &bombs {
                let (peak, took) = measure(bomb, &context);
                let shown: String = bomb.chars().take(90).collect();
                if took > Duration::from_millis(10) || peak > 4 << 20 {
                    println!("{peak:>10} bytes {took:>12?}  {shown}");
                }
                assert!(peak <= PEAK_MAX, "{peak} bytes at once: {shown}");
                assert!(took <= TIME_MAX, "{took:?}: {shown}");
                worst = (worst.0.max(peak), worst.1.max(took));
            }
            worst
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        thread.join().expect("no template may panic")
    });
    println!("worst: {} bytes at once, {:?} for five passes", worst.0, worst.1);
}

/// What the brain pays for each ordinary render; printed, not asserted.
#[test]
fn the_cost_of_an_ordinary_render_is_printed() {
    let labels = BTreeMap::new();
    let task = |_: &str| Some(TaskFacts { status: "COMPLETED", output: Some(r#"{"pages": [1, 2, 3]}"#), error: None });
    let context =
        Context { input: r#"{"topic": "tea", "n": 3}"#, task: &task, run_id: "run_01", labels: &labels, item: None };
    for source in [
        "plain text",
        "{{ run.id }}",
        "--topic={{ input.topic }}",
        "{{ tasks.a.output.pages | length }} of {{ input.n }}",
    ] {
        const TIMES: u32 = 2_000;
        let start = Instant::now();
        for _ in 0..TIMES {
            Renderer::new(context).text(source).expect("a good template");
        }
        println!("{:>12?} {source}", start.elapsed() / TIMES);
    }
}
