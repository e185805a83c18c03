import { useEffect, useRef, useState } from 'preact/hooks'
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
}

const SPANS_MS = [5 * 60_000, 60 * 60_000, 24 * 3_600_000] as const

/** What a property reported, and goes on reporting. */
export function Chart({ device, property, unit, steps }: ChartProps) {
  const box = useRef<HTMLDivElement>(null)
  const [spanMs, setSpanMs] = useState<number>(SPANS_MS[0])
  const [history, setHistory] = useState<HistoryView | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [latest, setLatest] = useState<HistoryPoint | undefined>(undefined)
  useEffect(() => {
    const over = new AbortController()
    const { signal } = over
    let plot: Plot | undefined
    const early: HistoryPoint[] = []
    const unlisten = store.listen((event) => {
      const point = pointOf(event, device, property)
      if (point === undefined) return
      setLatest(point)
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
        plot = openPlot(box.current, found.points, { spanMs, unit: unitOf(unit), steps, label: property })
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
  const last = latest ?? history?.points.at(-1)
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
          {history.points.some((point) => point[2] === 1) ? (
            <span>
              <span class="swatch backfill" aria-hidden="true" /> {t('backfilled')} ·{' '}
            </span>
          ) : null}
          {history.points.length === 0 && latest === undefined
            ? t('noHistory')
            : t('keptSince', { at: clockTime(history.since) })}
        </p>
      )}
    </section>
  )
}

function pointOf(event: StreamEvent, device: string, property: string): HistoryPoint | undefined {
  if (event.kind !== 'reported' || event.device !== device || event.property !== property) return undefined
  const { value, quality } = event
  const good = quality === 'good' || quality === 'uncertain'
  const figure = !good ? null : typeof value === 'boolean' ? Number(value) : typeof value === 'number' ? value : null
  const at = Date.parse(event.at)
  return event.backfill === true ? [at, figure, 1] : [at, figure]
}
