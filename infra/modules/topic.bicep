// A system topic: what Azure tells of one subscription, resource group or workspace. Azure allows one for each source.
@description('Name of the topic.')
param name string

@description('`global`, or the region of a workspace.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of what is watched.')
param source string

@description('What kind of source that is.')
@allowed(['Microsoft.Resources.Subscriptions', 'Microsoft.Resources.ResourceGroups', 'Microsoft.MachineLearningServices.Workspaces'])
param topicType string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: source
    topicType: topicType
  }
}

@description('Object id of the topic\'s identity.')
output principalId string = topic.identity.principalId
