/** A small vocabulary for Grafana dashboards: panels are placed row by row, so that nobody counts grid coordinates. */

/** Units as Grafana names them. */
export type Unit =
  | 'watt'
  | 'joule'
  | 'percentunit'
  | 's'
  | 'celsius'
  | 'dBm'
  | 'dB'
  | 'bytes'
  | 'bps'
  | 'short'
  | 'reqps'
  | 'massg'
  | 'dateTimeFromNow'

export interface Query {
  readonly expr: string
  /** How a series is called: `{{gateway}}`. */
  readonly legend?: string
}

export interface PanelOptions {
  readonly title: string
  /** What a person reads behind the little i: what the figure is and when to worry. */
  readonly description: string
  readonly unit: Unit
  readonly queries: readonly Query[]
  /** Of 24 columns. */
  readonly width: number
  readonly stacked?: boolean
  readonly min?: number
  readonly max?: number
  /** Colours from a value on, the first one from the bottom. */
  readonly steps?: readonly (readonly [from: number | null, colour: 'green' | 'yellow' | 'red' | 'blue' | 'text'])[]
}

export interface PanelKind {
  readonly kind: 'stat' | 'timeseries' | 'table'
  readonly height: number
}

export type Panel = PanelOptions & PanelKind

export const stat = (options: PanelOptions): Panel => ({ ...options, kind: 'stat', height: 4 })
export const timeSeries = (options: PanelOptions): Panel => ({ ...options, kind: 'timeseries', height: 8 })
export const table = (options: PanelOptions): Panel => ({ ...options, kind: 'table', height: 10 })

export interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

export interface Variable {
  readonly name: string
  readonly label: string
  /** A `label_values(...)` query. */
  readonly query: string
  readonly many?: boolean
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly variables: readonly Variable[]
  readonly rows: readonly Row[]
}

const COLUMNS = 24
const DATASOURCE = { type: 'prometheus', uid: '$datasource' } as const

/** The JSON that Grafana imports. `schemaVersion` 39 is that of Grafana 11; later ones convert it by themselves. */
export function dashboardJson(dashboard: Dashboard): object {
  const panels: object[] = []
  let y = 0
  for (const row of dashboard.rows) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: at(0, y, COLUMNS, 1),
      panels: [],
    })
    y += 1
    let x = 0
    let height = 0
    for (const panel of row.panels) {
      if (x + panel.width > COLUMNS) {
        x = 0
        y += height
        height = 0
      }
      panels.push({ id: panels.length + 1, ...panelJson(panel), gridPos: at(x, y, panel.width, panel.height) })
      x += panel.width
      height = Math.max(height, panel.height)
    }
    y += height
  }
  return {
    uid: dashboard.uid,
    title: dashboard.title,
    description: dashboard.description,
    tags: ['sluice'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    timezone: 'browser',
    templating: { list: [datasourceVariable, ...dashboard.variables.map(variableJson)] },
    annotations: { list: [] },
    links: [
      {
        ...{ type: 'dashboards', title: 'Sluice', tags: ['sluice'], url: '', icon: 'external link', tooltip: '' },
        ...{ asDropdown: true, targetBlank: false, includeVars: false, keepTime: true },
      },
    ],
    panels,
  }
}

const at = (x: number, y: number, w: number, h: number) => ({ x, y, w, h })

const datasourceVariable = {
  name: 'datasource',
  label: 'Prometheus',
  type: 'datasource',
  query: 'prometheus',
  hide: 0,
  refresh: 1,
}

const variableJson = ({ name, label, query, many }: Variable) => ({
  name,
  label,
  type: 'query',
  datasource: DATASOURCE,
  query: { query, refId: name },
  definition: query,
  refresh: 2,
  sort: 1,
  multi: many === true,
  includeAll: many === true,
  ...(many === true ? { allValue: '.*', current: { text: 'All', value: '$__all' } } : {}),
})

function panelJson({ kind, title, description, unit, queries, stacked, min, max, steps }: Panel) {
  const thresholds = {
    mode: 'absolute',
    steps: (steps ?? [[null, kind === 'stat' ? 'text' : 'green']]).map(([value, color]) => ({ value, color })),
  }
  const custom =
    kind === 'timeseries'
      ? {
          custom: {
            fillOpacity: stacked === true ? 40 : 5,
            lineWidth: 1,
            showPoints: 'never',
            // A gap is a gap: a line over it would be a value that nobody measured.
            spanNulls: false,
            stacking: { mode: stacked === true ? 'normal' : 'none', group: 'A' },
          },
        }
      : {}
  return {
    type: kind,
    title,
    description,
    datasource: DATASOURCE,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend ?? '__auto',
      ...(kind === 'timeseries' ? { range: true } : { instant: true, range: false }),
      ...(kind === 'table' ? { format: 'table' } : {}),
    })),
    fieldConfig: {
      defaults: {
        unit,
        ...(min === undefined ? {} : { min }),
        ...(max === undefined ? {} : { max }),
        thresholds,
        ...(steps === undefined ? {} : { color: { mode: 'thresholds' } }),
        ...custom,
      },
      overrides: [],
    },
    options: optionsOf(kind),
    ...(kind === 'table' ? { transformations: [{ id: 'merge', options: {} }] } : {}),
  }
}

function optionsOf(kind: Panel['kind']): object {
  if (kind === 'timeseries') {
    return {
      legend: { showLegend: true, displayMode: 'table', placement: 'bottom', calcs: ['lastNotNull', 'max'] },
      tooltip: { mode: 'multi', sort: 'desc' },
    }
  }
  if (kind === 'table') return { showHeader: true }
  return {
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    colorMode: 'value',
    graphMode: 'area',
    textMode: 'auto',
  }
}
