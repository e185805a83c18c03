import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-twin-in', {
  category: 'Sluice',
  color: '#7fc8c2',
  icon: 'font-awesome/fa-arrow-circle-right',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    trigger: { value: 'reported' },
    device: { value: '' },
    model: { value: '' },
    property: { value: '' },
    deadband: { value: '', validate: (value) => value === '' || value === undefined || Number(value) >= 0 },
    initial: { value: true },
  },
  inputs: 0,
  outputs: 1,
  paletteLabel: 'twin in',
  label() {
    const parts = [this['device'], this['property']].filter((part) => typeof part === 'string' && part !== '')
    return this.name || parts.join('/').replace(/^default\//, '') || String(this['model'] || 'twin in')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  oneditprepare() {
    preparePickers(this, { device: true, model: true, property: 'any', anyKey: 'picker.anyDevice' })
    const trigger = document.getElementById('node-input-trigger')
    const deadband = document.getElementById('sluice-row-deadband')
    if (!(trigger instanceof HTMLSelectElement) || deadband === null) return
    const show = () => {
      deadband.style.display = trigger.value === 'reported' ? '' : 'none'
    }
    trigger.addEventListener('change', show)
    show()
  },
})
