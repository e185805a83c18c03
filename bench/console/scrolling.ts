import type { Browser, CDPSession, Page } from 'playwright-core'
import { percentile } from '../harness.ts'

/** Steps of the wheel, one a frame of 60 a second, each of six rows of the table. */
const STEPS = 240
const ROW_PX = 40
const STEP_PX = 6 * ROW_PX
const STEP_MS = 1000 / 60
/** How long the last of it may take to be drawn. */
const SETTLE_MS = 1000
/** A frame that came later than this was missed by a display of 60 a second. */
const MISSED_MS = 1.5 * STEP_MS

export interface Scrolled {
  /** Between one frame of the page and the next. Without a graphics card it is drawn by the processors all others use. */
  readonly frameP50Ms: number
  readonly frameP95Ms: number
  /** How far it went: a wheel that a busy machine does not follow scrolls less. */
  readonly rows: number
  /** 0 to 1. */
  readonly missed: number
  /** Processor time of the main thread for scripts, styles and layout, on average a frame. */
  readonly oursMs: number
  /** Processor time of all that the main thread did in one go, that is between two chances to draw: of the slowest of a hundred. */
  readonly taskP99Ms: number
}

/** Turns the wheel over the table that is shown, as a person in a hurry does, while the fleet goes on changing. */
export async function scrolled(browser: Browser, page: Page, session: CDPSession): Promise<Scrolled> {
  const box = await page.locator('.scroller').boundingBox()
  if (box === null) throw new Error('there is no table to be scrolled')
  const place = { x: box.x + box.width / 2, y: box.y + box.height / 2 }
  await page.mouse.move(place.x, place.y)
  await session.send('Performance.enable', { timeDomain: 'threadTicks' })
  const before = await oursOf(session)
  await browser.startTracing(page, { categories: ['toplevel'] })
  await page.evaluate(`(() => {
    const frames = (window.benchFrames = { took: [], on: true, top: document.querySelector('.scroller').scrollTop })
    let lastMs
    const frame = () => {
      const nowMs = performance.now()
      if (lastMs !== undefined) frames.took.push(nowMs - lastMs)
      lastMs = nowMs
      if (frames.on) requestAnimationFrame(frame)
    }
    requestAnimationFrame(frame)
  })()`)
  const startMs = performance.now()
  const turned: Promise<unknown>[] = []
  for (let step = 0; step < STEPS; step++) {
    await new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, startMs + step * STEP_MS - performance.now())))
    // Not waited for one by one: a wheel does not wait for the page either.
    const turn = session.send('Input.dispatchMouseEvent', { type: 'mouseWheel', ...place, deltaX: 0, deltaY: STEP_PX })
    turned.push(turn.catch(() => {}))
  }
  // A busy browser answers some of them late and some, which it took together, not at all.
  await Promise.race([Promise.all(turned), new Promise<void>((resolve) => setTimeout(resolve, SETTLE_MS))])
  const { took, px } = await page.evaluate<{ took: number[]; px: number }>(`(() => {
    benchFrames.on = false
    return { took: benchFrames.took, px: document.querySelector('.scroller').scrollTop - benchFrames.top }
  })()`)
  const after = await oursOf(session)
  const tasks = tasksOf((await browser.stopTracing()).toString('utf8'))
  if (px <= 0) throw new Error('the wheel did not move the table')
  return {
    frameP50Ms: percentile(took, 0.5),
    frameP95Ms: percentile(took, 0.95),
    rows: px / ROW_PX,
    missed: took.filter((ms) => ms > MISSED_MS).length / took.length,
    oursMs: (after - before) / took.length,
    taskP99Ms: percentile(tasks, 0.99),
  }
}

/** Processor time, not time by the clock: what others on the machine do is not the page's. */
async function oursOf(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics')
  const of = (name: string) => (metrics.find((each) => each.name === name)?.value ?? 0) * 1000
  return of('ScriptDuration') + of('RecalcStyleDuration') + of('LayoutDuration')
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly args?: { readonly name?: string }
  /** Processor time of the thread, microseconds. */
  readonly tdur?: number
}

/** Milliseconds of processor time of each task that the busiest page's main thread ran for half a millisecond or more. */
function tasksOf(trace: string): number[] {
  const { traceEvents } = JSON.parse(trace) as { readonly traceEvents: readonly TraceEvent[] }
  const main = new Set(
    traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  )
  const of = new Map<string, number[]>()
  for (const { name, pid, tid, tdur = 0 } of traceEvents) {
    const thread = `${pid} ${tid}`
    if (!name.endsWith('RunTask') || !main.has(thread) || tdur < 500) continue
    of.set(thread, [...(of.get(thread) ?? []), tdur / 1000])
  }
  const sum = (tasks: readonly number[]) => tasks.reduce((total, ms) => total + ms, 0)
  return [...of.values()].sort((a, b) => sum(b) - sum(a))[0] ?? []
}
