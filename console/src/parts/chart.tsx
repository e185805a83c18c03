import { useEffect, useRef, useState } from 'preact/hooks'
import type { Json } from '../../../api/resources.ts'
import type { Quality } from '../../../api/twin/quality.ts'
import type { HistoryPoint, HistoryView, StreamEvent } from '../../../api/views.ts'
import { call } from '../http.ts'
import { store } from '../store.ts'
import { clockTime, number, t, unitOf } from '../words.ts'
import { Failure } from './bits.tsx'
import type { Plot } from './plot.ts'

export interface ChartProps {
  readonly device: string
  readonly property: string
  readonly unit: string | undefined
  readonly steps: boolean
  /** What it is now: a value that has not changed for longer than is kept was reported in no history. */
  readonly standing: HistoryPoint | undefined
}

const SPANS_MS = [5 * 60_000, 60 * 60_000, 24 * 3_600_000] as const

/** What a property reported, and goes on reporting. */
export function Chart({ device, property, unit, steps, standing }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const [spanMs, setSpanMs] = useState<number>(SPANS_MS[0])
  const [history, setHistory] = useState<HistoryView | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [latest, setLatest] = useState<HistoryPoint | undefined>(undefined)
  const [late, setLate] = useState(false)
  const [fromMs, setFromMs] = useState(0)
  useEffect(() => {
    const over = new AbortController()
    const { signal } = over
    let plot: Plot | undefined
    const early: HistoryPoint[] = []
    const unlisten = store.listen((event) => {
      const point = pointOf(event, device, property)
      if (point === undefined) return
      if (point[2] === 1) setLate(true)
      else setLatest(point)
      if (plot === undefined) early.push(point)
      else plot.add(point)
    })
    const path = [...device.split('/'), property].map(encodeURIComponent).join('/')
    const from = Date.now() - spanMs
    void (async () => {
      try {
        const [{ openPlot }, found] = await Promise.all([
          import('./plot.ts'),
          call<HistoryView>(`/v1/history/${path}?from=${from}`, { signal }),
        ])
        if (signal.aborted || box.current === null) return
        setHistory(found)
        setError(undefined)
        setFromMs(from)
        setLate((before) => before || found.points.some(([at, , backfill]) => backfill === 1 && at >= from))
        const known = standing === undefined || found.points.some(([at]) => at >= standing[0])
        const points = known ? found.points : [...found.points, standing]
        plot = openPlot(box.current, points, { spanMs, unit: unitOf(unit), steps, label: property })
        for (const point of early) plot.add(point)
      } catch (thrown) {
        if (!signal.aborted) setError(thrown)
      }
    })()
    return () => {
      over.abort()
      unlisten()
      plot?.close()
    }
  }, [device, property, spanMs])
  const last = latest ?? history?.points.at(-1) ?? standing
  const since = history === undefined ? 0 : Date.parse(history.since)
  const words =
    last === undefined || last[1] === null ? '' : `${number(last[1])} ${unitOf(unit)}, ${clockTime(last[0])}`
  return (
    <section class="panel chart" aria-label={t('chart', { name: property })}>
      <header>
        <h2>
          {property} <span class="muted">{unitOf(unit)}</span>
        </h2>
        <div class="choice" role="group" aria-label={t('history')}>
          {SPANS_MS.map((each) => (
            <button key={each} type="button" aria-pressed={spanMs === each} onClick={() => setSpanMs(each)}>
              {each < 3_600_000 ? t('minutes', { n: each / 60_000 }) : t('hours', { n: each / 3_600_000 })}
            </button>
          ))}
        </div>
      </header>
      <div class="plot" ref={box} role="img" aria-label={`${t('chart', { name: property })}. ${t('last')}: ${words}`} />
      <Failure error={error} />
      {history === undefined ? null : (
        <p class="muted small foot">
          {late ? (
            <span>
              <span class="swatch backfill" aria-hidden="true" /> {t('backfilled')}{' '}
            </span>
          ) : null}
          {last === undefined ? t('noHistory') : since > fromMs + 1_000 ? t('keptSince', { at: clockTime(since) }) : ''}
        </p>
      )}
    </section>
  )
}

function pointOf(event: StreamEvent, device: string, property: string): HistoryPoint | undefined {
  if (event.kind !== 'reported' || event.device !== device || event.property !== property) return undefined
  const point = pointAt(event)
  return event.backfill === true ? [...point, 1] : point
}

/** A value as a chart draws it: nothing where nothing good was read. */
export function pointAt({
  at,
  value,
  quality,
}: {
  readonly at: string
  readonly value?: Json | undefined
  readonly quality?: Quality | undefined
}): [number, number | null] {
  const good = quality === undefined || quality === 'good' || quality === 'uncertain'
  const figure = !good ? null : typeof value === 'boolean' ? Number(value) : typeof value === 'number' ? value : null
  return [Date.parse(at), figure]
}
