import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { EnergySeriesView } from '../../../api/console/insight.ts'
import {
  type EnergyAnswer,
  flowOf,
  type PartKind,
  partOf,
  partsNow,
  type Stack,
  stackOf,
  toneOf,
} from '../energy-parts.ts'
import { call } from '../http.ts'
import type { AreaPlot } from '../parts/area.ts'
import { Bar, Failure, Panel } from '../parts/bits.tsx'
import { gatewayPath } from '../paths.ts'
import type { Signed } from '../route.ts'
import { NODE_WIDTH, sankey } from '../sankey.ts'
import type { TextKey } from '../texts.ts'
import { useAnswer } from '../use-answer.ts'
import { useWidth } from '../use-width.ts'
import { clockTime, energy, percent, t, watts, word } from '../words.ts'

const SERIES_EVERY_MS = 5_000

interface PanelProps {
  readonly session: Signed
  readonly gateway: string
}

/** Who takes how much of the gateway's power, and what they have taken: pods, and devices by what reading them costs. */
export function EnergyPanels({ session, gateway }: PanelProps) {
  const { value, error } = useAnswer<EnergyAnswer>(gatewayPath(session, gateway, 'energy'), 3_000)
  const found = value?.attribution
  if (found === undefined) return error === undefined ? null : <Failure error={error} />
  const accuracy = found.errorPercent === undefined ? '' : ` ±\u202f${percent(found.errorPercent / 100)}`
  const aside = (
    <span class="muted small">
      {watts(found.whole.watts)} · {word(found.source)}
      {accuracy}
    </span>
  )
  return (
    <Panel title={t('energy')} aside={aside}>
      <EnergyArea {...{ session, gateway }} />
      <Flow answer={value!} />
      <Shares answer={value!} />
    </Panel>
  )
}

const KIND_TEXTS: Readonly<Record<PartKind, TextKey>> = {
  ...{ idle: 'idle', rest: 'rest', slice: 'rest', agent: 'agent', other: 'others', device: 'devices', pod: 'pods' },
}

const kindWords = (kind: PartKind): string => t(KIND_TEXTS[kind])

/** A pod that is nobody's here has no name but its UID, whose beginning tells it from the others. */
const withoutUid = (name: string): string =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-/.test(name) ? `${t('foreignPod')} ${name.slice(0, 8)}` : name

/** A part of its own by its name, a group by its word. */
function partWords(id: string): string {
  const { kind, name } = partOf(id)
  return name === '' ? kindWords(kind) : withoutUid(name)
}

/** Watts by part over the last hour, going on. */
function EnergyArea({ session, gateway }: PanelProps) {
  const box = useRef<HTMLDivElement>(null)
  const [stack, setStack] = useState<Stack | undefined>(undefined)
  const [since, setSince] = useState('')
  const [error, setError] = useState<unknown>(undefined)
  useEffect(() => {
    const over = new AbortController()
    let plot: AreaPlot | undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async () => {
      try {
        if (document.visibilityState === 'visible') {
          const path = gatewayPath(session, gateway, 'energy/series')
          const [{ openArea }, series] = await Promise.all([
            import('../parts/area.ts'),
            call<EnergySeriesView>(path, { signal: over.signal }),
          ])
          if (over.signal.aborted || box.current === null) return
          const found = stackOf(series)
          setStack(found)
          setSince(series.since)
          setError(undefined)
          // One point alone is no area.
          if (found.atS.length < 2) plot?.set(found)
          else if (plot === undefined) plot = openArea(box.current, found, toneOf, 'W')
          else plot.set(found)
        }
      } catch (thrown) {
        if (!over.signal.aborted) setError(thrown)
      }
      if (!over.signal.aborted) timer = setTimeout(() => void look(), SERIES_EVERY_MS)
    }
    void look()
    return () => {
      over.abort()
      clearTimeout(timer)
      plot?.close()
    }
  }, [gateway])
  const bands = [...(stack?.bands ?? [])].reverse()
  const words = bands.map(({ id, last }) => `${partWords(id)} ${watts(last)}`).join(', ')
  return (
    <div class="area">
      <h3>{t('energyOverTime')}</h3>
      <div class="plot" ref={box} role="img" aria-label={`${t('energyOverTime')}: ${words}`} />
      {stack !== undefined && stack.atS.length < 2 ? <p class="muted">{t('gathering')}</p> : null}
      <Failure error={error} />
      <ul class="legend-list">
        {bands.map(({ id, last }, at) => (
          <li key={id} title={partOf(id).name}>
            <span class={`swatch f${toneOf(id)}${shadeOf(bands, at)}`} aria-hidden="true" />
            {partWords(id)} <span class="muted">{watts(last)}</span>
          </li>
        ))}
      </ul>
      {since === '' ? null : <p class="muted small foot">{t('keptSince', { at: clockTime(since) })}</p>}
    </div>
  )
}

/** As the drawing has it: every other band of one kind is lighter. */
function shadeOf(bands: readonly { readonly id: string }[], at: number): string {
  const tone = toneOf(bands[at]!.id)
  const nth = bands.slice(0, at).filter(({ id }) => toneOf(id) === tone).length
  return nth % 2 === 0 ? '' : ' light'
}

const FLOW_HEIGHT_PX = 190
/** Below this there is no room for three columns with words between them. */
const NARROW_PX = 520

function Flow({ answer }: { readonly answer: EnergyAnswer }) {
  const box = useRef<HTMLDivElement>(null)
  const width = useWidth(box)
  const known = answer.power?.supply
  const supply = known === undefined || known === 'unknown' ? t('supply') : word(known)
  const nodes = useMemo(() => {
    const all = flowOf(answer.attribution!, supply, kindWords)
    return width >= NARROW_PX ? all : all.filter(({ column }) => column < 2)
  }, [answer, width])
  const shape = sankey(nodes, width, FLOW_HEIGHT_PX)
  const columns = Math.max(...nodes.map(({ column }) => column))
  const words = nodes.filter(({ column }) => column > 0).map(({ label, value }) => `${label} ${watts(value)}`)
  return (
    <div class="flow">
      <h3>{t('energyFlow')}</h3>
      <div ref={box}>
        <svg
          class="sankey"
          width={width}
          height={shape.height + 2}
          viewBox={`0 -1 ${width} ${shape.height + 2}`}
          role="img"
          aria-label={`${t('energyFlow')}: ${words.join(', ')}`}
        >
          {shape.ribbons.map(({ id, tone, path }) => (
            <path key={id} class={`ribbon f${tone}`} d={path} />
          ))}
          {shape.nodes.map(({ id, label, value, column, tone, x, y, height }) => {
            const last = column === columns
            return (
              <g key={id}>
                <rect class={`f${tone}`} x={x} y={y} width={NODE_WIDTH} height={height} />
                <text
                  x={last ? x - 6 : x + NODE_WIDTH + 6}
                  y={y + height / 2}
                  text-anchor={last ? 'end' : 'start'}
                  dominant-baseline="central"
                >
                  {shortened(label)} <tspan class="figure">{watts(value)}</tspan>
                </text>
              </g>
            )
          })}
        </svg>
      </div>
    </div>
  )
}

const shortened = (label: string): string => {
  const name = withoutUid(label)
  return name.length > 26 ? `${name.slice(0, 25)}…` : name
}

function Shares({ answer }: { readonly answer: EnergyAnswer }) {
  const { whole } = answer.attribution!
  const rows = partsNow(answer.attribution!).filter((part) => part.watts > 0 || part.joules > 0)
  return (
    <details>
      <summary>{t('energyTable')}</summary>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={t('energyTable')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('consumer')}</th>
              <th scope="col">{t('share')}</th>
              <th scope="col" class="num">
                {t('power')}
              </th>
              <th scope="col" class="num">
                {t('energy')}
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ id, watts: own, joules }) => {
              const share = whole.watts > 0 ? own / whole.watts : 0
              return (
                <tr key={id}>
                  <td>
                    {partWords(id)}{' '}
                    {partOf(id).name === '' ? null : <span class="muted small">{kindWords(partOf(id).kind)}</span>}
                  </td>
                  <td>
                    <Bar share={share} label={percent(share, 1)} warnAt={2} />
                  </td>
                  <td class="num">{watts(own)}</td>
                  <td class="num">{energy(joules)}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
    </details>
  )
}
